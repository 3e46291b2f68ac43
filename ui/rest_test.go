package ui

import (
	"io"
	"testing"

	tea "charm.land/bubbletea/v2"
)

// finder looks for the ticker of the program that it is the model of.
type finder struct {
	program *tea.Program
	found   bool
}

func (f *finder) Init() tea.Cmd { return func() tea.Msg { return struct{}{} } }

func (f *finder) Update(tea.Msg) (tea.Model, tea.Cmd) {
	f.found = tickerOf(f.program) != nil
	return f, tea.Quit
}

func (f *finder) View() tea.View { return tea.NewView("") }

// TestTickerIsFound fails when another Bubble Tea keeps its ticker elsewhere:
// a quiet workbench would use CPU time again, and nothing else would tell.
func TestTickerIsFound(t *testing.T) {
	f := &finder{}
	f.program = tea.NewProgram(f, tea.WithContext(t.Context()), tea.WithInput(nil), tea.WithOutput(io.Discard))
	if _, err := f.program.Run(); err != nil {
		t.Fatal(err)
	}
	if !f.found {
		t.Error("the renderer's ticker is not where rest looks for it")
	}
}
