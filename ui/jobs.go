package ui

import (
	"context"
	"fmt"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/lab"
)

func what(j *api.Job) string {
	if j.Target != "" {
		return string(j.Verb) + " " + j.Target
	}
	return string(j.Verb) + " " + j.Lab
}

// shownJobs are the jobs of what is shown, the latest first.
func (m *Model) shownJobs() []*api.Job {
	var out []*api.Job
	if m.snap == nil {
		return nil
	}
	for i := len(m.snap.Jobs) - 1; i >= 0; i-- {
		if j := m.snap.Jobs[i]; m.screen == screenLabs || j.Lab == m.labName {
			out = append(out, j)
		}
	}
	return out
}

// running are the jobs at work on what is shown.
func (m *Model) running() []*api.Job {
	var out []*api.Job
	for _, j := range m.shownJobs() {
		if !j.State.Ended() {
			out = append([]*api.Job{j}, out...)
		}
	}
	return out
}

func (m *Model) cancel(j *api.Job) tea.Cmd {
	return m.ask("cancel "+what(j), func(ctx context.Context, e api.Engine) resultMsg {
		return resultMsg{err: e.CancelJob(ctx, j.ID)}
	})
}

// cancelJob cancels the job that runs; of several, the one chosen.
func (m *Model) cancelJob() tea.Cmd {
	jobs := m.running()
	if len(jobs) == 1 {
		return m.cancel(jobs[0])
	}
	var items []pickItem
	for _, j := range jobs {
		items = append(items, pickItem{name: what(j), about: jobState(j)})
	}
	m.push(newPicker("cancel which job?", items, func(m *Model, i int) tea.Cmd { return m.cancel(jobs[i]) }))
	return nil
}

func jobState(j *api.Job) string {
	switch {
	case j.State.Ended() && j.Error != "":
		return string(j.State) + ": " + clean(j.Error)
	case j.State.Ended():
		return string(j.State) + " at " + j.Ended.Local().Format("15:04:05")
	case j.State == lab.JobPending && j.Text != "":
		return "queued behind " + clean(j.Text)
	case j.Total > 0:
		return fmt.Sprintf("%s, %d of %d: %s", j.State, j.Done, j.Total, clean(j.Text))
	}
	return string(j.State)
}

// jobsPicker lists jobs: enter cancels one that runs, and tells of one that
// has ended.
func (m *Model) jobsPicker() tea.Cmd {
	jobs := m.shownJobs()
	if len(jobs) == 0 {
		m.say(false, "jobs: nothing was asked for yet")
		return nil
	}
	var items []pickItem
	for _, j := range jobs {
		about := jobState(j)
		if !j.State.Ended() {
			about = "enter cancels " + m.glyphs.Dot + " " + about
		}
		items = append(items, pickItem{name: what(j), about: about})
	}
	m.push(newPicker("jobs", items, func(m *Model, i int) tea.Cmd {
		j := jobs[i]
		if !j.State.Ended() {
			return m.cancel(j)
		}
		text := []string{what(j) + ": " + jobState(j), fmt.Sprintf("asked for at %s, ended after %s", j.Created.Local().Format("15:04:05"), short(j.Took(j.Ended)))}
		if j.Owner != "" {
			text = append(text, "asked for by "+clean(j.Owner))
		}
		m.push(&message{title: "job", text: text, bad: j.State == lab.JobFailed})
		return nil
	}))
	return nil
}

// labPicker is about all nodes of a lab.
func (m *Model) labPicker() tea.Cmd {
	name := m.target()
	verbs := []lab.JobVerb{lab.JobStart, lab.JobStop, lab.JobRestart}
	items := []pickItem{{name: "start all", about: "boot what is stopped"}, {name: "stop all", about: "the lab stays, its nodes end"}, {name: "restart all", about: "all links are kept"}}
	m.push(newPicker("the whole of "+name, items, func(m *Model, i int) tea.Cmd { return m.setThese(name, verbs[i], nil) }))
	return nil
}
