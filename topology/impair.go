package topology

import (
	"time"

	"archetype/lab"
)

// impairment reads how much worse than a cable a direction is.
func (r *reader) impairment(v *value, what string) lab.Impairment {
	var i lab.Impairment
	before := r.fails
	span := func(into *time.Duration) func(field) {
		return func(f field) {
			d, err := time.ParseDuration(r.str(f.value, what+": "+f.name))
			if err != nil && r.fails == before {
				r.errorAt(f.value.line, f.value.column, "write it as 20ms", "%s: %q is not a time", what+": "+f.name, f.value.text)
			}
			*into = d
		}
	}
	percent := func(into *float64) func(field) {
		return func(f field) {
			p, err := lab.ParsePercent(r.str(f.value, what+": "+f.name))
			if err != nil && r.fails == before {
				r.errorAt(f.value.line, f.value.column, "write it as 1.5%", "%s: %v", what+": "+f.name, err)
			}
			*into = p
		}
	}
	r.fields(v, what, impairConstructs, map[string]func(field){
		"delay": span(&i.Delay), "jitter": span(&i.Jitter), "loss": percent(&i.Loss), "corruption": percent(&i.Corruption),
		"rate": func(f field) {
			rate, err := lab.ParseRate(r.str(f.value, what+": rate"))
			if err != nil && r.fails == before {
				r.errorAt(f.value.line, f.value.column, "write it as 10mbit; a plain number is kilobits a second", "%s: %v", what+": rate", err)
			}
			i.Rate = rate
		},
	})
	if r.fails > before {
		return lab.Impairment{}
	}
	if err := i.Check(); err != nil {
		r.errorAt(v.line, v.column, "", "%s: %v", what, err)
	}
	return i
}
