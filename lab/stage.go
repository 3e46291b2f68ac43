package lab

// Stage is a step in the making of a node that others can wait for.
type Stage string

// The stages of a node, in their order.
const (
	StageCreate      Stage = "create"       // the node exists
	StageCreateLinks Stage = "create-links" // its links are wired
	StageConfigure   Stage = "configure"    // it is running and its commands are done
	StageHealthy     Stage = "healthy"      // its health check is good
	StageExit        Stage = "exit"         // it has ended
)

// Stages lists every stage in order.
func Stages() []Stage {
	return []Stage{StageCreate, StageCreateLinks, StageConfigure, StageHealthy, StageExit}
}

// Valid reports whether s is a stage.
func (s Stage) Valid() bool {
	for _, k := range Stages() {
		if s == k {
			return true
		}
	}
	return false
}

// StagePlan is what a file wants of one stage of a node.
type StagePlan struct {
	Stage Stage `json:"stage"`
	// WaitFor must have come to pass before the node enters the stage.
	WaitFor []WaitFor   `json:"wait_for,omitempty"`
	Exec    []StageExec `json:"exec,omitempty"`
}

// WaitFor is a stage of another node that must be over.
type WaitFor struct {
	Node  string `json:"node"`
	Stage Stage  `json:"stage"`
}

// StageExec is a command that goes with a stage.
type StageExec struct {
	Command string `json:"command"`
	OnHost  bool   `json:"on_host,omitempty"` // on the machine; else in the node
	OnExit  bool   `json:"on_exit,omitempty"` // when the node leaves the stage; else when it enters it
}
