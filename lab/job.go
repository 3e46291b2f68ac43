package lab

// JobState is how far a job has come.
type JobState string

// The states of a job.
const (
	JobPending   JobState = "pending"
	JobRunning   JobState = "running"
	JobCompleted JobState = "completed"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
)

var jobs = machine[JobState]{
	what:   "job",
	states: []JobState{JobPending, JobRunning, JobCompleted, JobFailed, JobCancelled},
	next: map[JobState][]JobState{
		JobPending: {JobRunning, JobFailed, JobCancelled},
		JobRunning: {JobCompleted, JobFailed, JobCancelled},
	},
}

// JobStates lists every job state.
func JobStates() []JobState { return append([]JobState(nil), jobs.states...) }

// Valid reports whether s is a job state.
func (s JobState) Valid() bool { return jobs.valid(s) }

// CanTransition reports whether a job may go from s to the state given.
func (s JobState) CanTransition(to JobState) bool { return jobs.can(s, to) }

// CheckTransition returns nil or the error that says what is wrong with going
// from s to the state given.
func (s JobState) CheckTransition(to JobState) error { return jobs.check(s, to) }

// Ended reports whether a job in state s will never change again.
func (s JobState) Ended() bool {
	return s == JobCompleted || s == JobFailed || s == JobCancelled
}

// JobVerb is what a job was asked to do.
type JobVerb string

// What a job can be asked to do.
const (
	JobDeploy     JobVerb = "deploy"
	JobDestroy    JobVerb = "destroy"
	JobStart      JobVerb = "start"
	JobStop       JobVerb = "stop"
	JobRestart    JobVerb = "restart"
	JobConnect    JobVerb = "connect"
	JobDisconnect JobVerb = "disconnect"
	JobAdd        JobVerb = "add"
	JobRemove     JobVerb = "remove"
	JobImage      JobVerb = "image" // that a node is made from
	JobImpair     JobVerb = "impair"
	JobSwap       JobVerb = "swap"  // the network that makes the links
	JobMend       JobVerb = "mend"  // what has drifted
	JobLeave      JobVerb = "leave" // what has drifted, as it is
	JobExec       JobVerb = "exec"
	JobSave       JobVerb = "save" // a configuration that is read out of a node
)

// AtNextStart is what becomes of a job that its engine has not ended.
type AtNextStart string

// What can become of a job at the next start of an engine.
const (
	JobResumed AtNextStart = "resumed" // what was wished is still wished: the new engine goes on with it
	JobBuried  AtNextStart = "failed"  // it was done for somebody who waited, and cannot be gone on with
)

// verbs are all that a job can be asked to do, and what becomes of each.
var verbs = map[JobVerb]AtNextStart{
	JobDeploy: JobResumed, JobDestroy: JobResumed, JobStart: JobResumed, JobStop: JobResumed, JobRestart: JobResumed,
	JobConnect: JobResumed, JobDisconnect: JobResumed, JobAdd: JobResumed, JobRemove: JobResumed, JobImage: JobResumed, JobImpair: JobResumed,
	JobSwap: JobResumed, JobMend: JobResumed, JobLeave: JobResumed,
	JobExec: JobBuried, JobSave: JobBuried,
}

// Valid reports whether v is something a job can be asked to do.
func (v JobVerb) Valid() bool { return verbs[v] != "" }

// AtNextStart is what becomes of such a job when its engine ends before it.
func (v JobVerb) AtNextStart() AtNextStart { return verbs[v] }
