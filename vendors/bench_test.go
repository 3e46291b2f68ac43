package vendors

import "testing"

// Every start of the program loads the kinds: it must not be felt.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, _, err := Load(""); err != nil {
			b.Fatal(err)
		}
	}
}
