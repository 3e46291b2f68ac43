package lab

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Impairment is how much worse than a cable a link is, for the frames that
// leave one of its ends. The zero value is a perfect cable.
type Impairment struct {
	Delay      time.Duration `json:"delay,omitempty"`      // each frame comes this much later, in nanoseconds
	Jitter     time.Duration `json:"jitter,omitempty"`     // the delay varies by this much, either way
	Loss       float64       `json:"loss,omitempty"`       // per cent of frames that never come
	Corruption float64       `json:"corruption,omitempty"` // per cent of frames with a bit turned
	Rate       uint64        `json:"rate,omitempty"`       // bits a second at most; 0: as fast as it goes
}

// The limits of an impairment. What is beyond would only look like a cable
// that is cut.
const (
	maxDelay = time.Minute
	minRate  = 8_000             // bits a second
	maxRate  = 1_000_000_000_000 // bits a second
)

// IsZero reports whether the cable is perfect.
func (i Impairment) IsZero() bool { return i == Impairment{} }

// RateOnly reports whether nothing but the rate is limited.
func (i Impairment) RateOnly() bool { return i.Rate > 0 && i == Impairment{Rate: i.Rate} }

// Check returns an error that says which value is out of range.
func (i Impairment) Check() error {
	switch {
	case i.Delay < 0 || i.Delay > maxDelay:
		return fmt.Errorf("delay %s: it must be between 0 and %s", i.Delay, maxDelay)
	case i.Jitter < 0 || i.Jitter > maxDelay:
		return fmt.Errorf("jitter %s: it must be between 0 and %s", i.Jitter, maxDelay)
	case i.Jitter > 0 && i.Delay == 0:
		return fmt.Errorf("jitter %s: it needs a delay to vary", i.Jitter)
	case i.Jitter > i.Delay:
		return fmt.Errorf("jitter %s: it cannot be more than the delay, %s", i.Jitter, i.Delay)
	case !(i.Loss >= 0 && i.Loss <= 100):
		return fmt.Errorf("loss %v%%: it must be between 0 and 100", i.Loss)
	case !(i.Corruption >= 0 && i.Corruption <= 100):
		return fmt.Errorf("corruption %v%%: it must be between 0 and 100", i.Corruption)
	case i.Rate != 0 && (i.Rate < minRate || i.Rate > maxRate):
		return fmt.Errorf("rate %s: it must be between %s and %s", FormatRate(i.Rate), FormatRate(minRate), FormatRate(maxRate))
	}
	return nil
}

// String is short enough for a table: "10ms±2ms loss 1% 10mbit".
func (i Impairment) String() string {
	var parts []string
	if i.Delay > 0 {
		s := i.Delay.String()
		if i.Jitter > 0 {
			s += "±" + i.Jitter.String()
		}
		parts = append(parts, s)
	}
	if i.Loss > 0 {
		parts = append(parts, "loss "+formatPercent(i.Loss))
	}
	if i.Corruption > 0 {
		parts = append(parts, "corrupt "+formatPercent(i.Corruption))
	}
	if i.Rate > 0 {
		parts = append(parts, FormatRate(i.Rate))
	}
	return strings.Join(parts, " ")
}

func formatPercent(p float64) string { return strconv.FormatFloat(p, 'f', -1, 64) + "%" }

var rateUnits = []struct {
	name string
	bits uint64
}{{"tbit", 1e12}, {"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

// FormatRate writes bits a second as tc does: "10mbit".
func FormatRate(bits uint64) string {
	for _, u := range rateUnits {
		if bits >= u.bits && bits%u.bits == 0 {
			return strconv.FormatUint(bits/u.bits, 10) + u.name
		}
	}
	return strconv.FormatUint(bits, 10) + "bit"
}

// ParseRate reads "10mbit", "1.5gbit" or, as containerlab has it, a plain
// number of kilobits a second.
func ParseRate(s string) (uint64, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	text = strings.TrimSuffix(text, "/s")
	text = strings.TrimSuffix(text, "ps")
	unit := 1e3
	for _, u := range rateUnits {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = rest, float64(u.bits)
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(v >= 0 && v*unit <= 2*maxRate) {
		return 0, fmt.Errorf("%q is not a rate: write it as 10mbit", s)
	}
	return uint64(v * unit), nil
}

// ParsePercent reads "1.5%" or "1.5".
func ParsePercent(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "%")), 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return 0, fmt.Errorf("%q is not a percentage between 0 and 100", s)
	}
	return v, nil
}

// Words writes an impairment so that ParseImpairment reads it.
func (i Impairment) Words() string {
	var parts []string
	if i.Delay > 0 {
		parts = append(parts, "delay "+i.Delay.String())
	}
	if i.Jitter > 0 {
		parts = append(parts, "jitter "+i.Jitter.String())
	}
	if i.Loss > 0 {
		parts = append(parts, "loss "+formatPercent(i.Loss))
	}
	if i.Corruption > 0 {
		parts = append(parts, "corrupt "+formatPercent(i.Corruption))
	}
	if i.Rate > 0 {
		parts = append(parts, "rate "+FormatRate(i.Rate))
	}
	return strings.Join(parts, " ")
}

// ParseImpairment reads pairs such as "delay 20ms jitter 5ms loss 1% corrupt
// 0.1% rate 10mbit"; nothing, or "clear", is a perfect cable.
func ParseImpairment(s string) (Impairment, error) {
	var i Impairment
	words := strings.Fields(s)
	if len(words) == 1 && words[0] == "clear" {
		return i, nil
	}
	for at := 0; at < len(words); at += 2 {
		if at+1 == len(words) {
			return i, fmt.Errorf("%s: how much? Write it as delay 20ms jitter 5ms loss 1%% corrupt 0.1%% rate 10mbit", words[at])
		}
		var err error
		switch v := words[at+1]; words[at] {
		case "delay":
			i.Delay, err = time.ParseDuration(v)
		case "jitter":
			i.Jitter, err = time.ParseDuration(v)
		case "loss":
			i.Loss, err = ParsePercent(v)
		case "corrupt", "corruption":
			i.Corruption, err = ParsePercent(v)
		case "rate":
			i.Rate, err = ParseRate(v)
		default:
			err = fmt.Errorf("%q is no impairment: there are delay, jitter, loss, corrupt and rate", words[at])
		}
		if err != nil {
			return Impairment{}, err
		}
	}
	return i, i.Check()
}
