package lab

import "time"

// Retry says when something that failed or drifted is tried again.
type Retry struct {
	First   time.Duration `yaml:"first"`   // after the first failure; twice as long after each that follows, with jitter
	Cap     time.Duration `yaml:"cap"`     // the longest pause between two tries
	Tries   int           `yaml:"tries"`   // in a row, before it rests
	Rest    time.Duration `yaml:"rest"`    // the cool-down; then it begins anew
	Healthy time.Duration `yaml:"healthy"` // well for so long, earlier failures are forgotten
}

// DefaultRetry serves who has chosen nothing else.
func DefaultRetry() Retry {
	return Retry{First: time.Second, Cap: time.Minute, Tries: 10, Rest: 5 * time.Minute, Healthy: time.Minute}
}

const (
	// DefaultLookEvery is how much time is between two looks at everything, the
	// safety net under the backends' events, where nothing else is chosen.
	DefaultLookEvery = time.Minute
	// DefaultBootTimeout is how long a node may take to boot where nothing says.
	DefaultBootTimeout = 5 * time.Minute
)
