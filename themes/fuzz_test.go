package themes

import "testing"

// Whatever a theme's file says: a theme with a colour for every role, or an error.
func FuzzTheme(f *testing.F) {
	data, err := builtin.ReadFile("dark.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		th, err := parse("t.yaml", data)
		if (th == nil) == (err == nil) {
			t.Fatalf("%v, %v", th, err)
		}
		if th != nil {
			for _, r := range Roles() {
				_ = th.Style(r).Render("x")
			}
		}
	})
}
