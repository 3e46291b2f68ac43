package enginetest

import (
	"slices"
	"testing"
)

// Run runs every case on the engine, or those named, some of them side by
// side. The names of the tests are those of the cases below that of t.
func Run(t *testing.T, s *Shared, only ...string) {
	e := s.Get(t)
	for _, c := range cases {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := e
			if c.own {
				e = Own(t, s.Kind)
			}
			c.run(newBench(t, e))
		})
	}
}

var cases = []struct {
	name string // words joined by hyphens
	run  func(*bench)
	own  bool // needs an engine of its own, for what others would feel
}{
	{"engine-stopped-and-started", engineRestart, true},
	{"life", life, false},
	{"another-configuration-at-the-next-start", anotherConfigurationTakesEffectAtTheNextStart, false},
	{"foreign-containers-are-not-touched", foreignContainersAreNotTouched, false},
	{"nothing-is-left", everythingIsGoneAfterwards, false},
	{"interfaces-before-init", interfacesAreThereBeforeTheInitAndOnEveryRestart, false},
	{"staged-nodes-wait-for-their-start", stagedNodesWaitForTheirStart, false},
	{"staged-and-disturbed", stagedAndDisturbed, false},
	{"late-interface-is-waited-for", aLateInterfaceIsWaitedForBehindOurBack, false},
	{"started-while-nobody-serves", aContainerThatStartsWhileNobodyServesWaits, false},
	{"restarted-behind-our-back", restartBehindOurBackKeepsLinks, false},
	{"killed-and-started-behind-our-back", killedAndStartedBehindOurBack, false},
	{"removed-behind-our-back", removedBehindOurBack, false},
	{"paused-and-renamed-behind-our-back", pausedAndRenamedBehindOurBack, false},
	{"exec", commands, false},
	{"console", console, false},
	{"console-by-attach", attachedConsole, false},
	{"logs-follow-over-restarts", logsFollowOverRestarts, false},
	{"stats", stats, false},
	{"kinds-are-told-of-their-interfaces", kindsAreToldOfTheirInterfaces, false},
	{"missing-image", missingImage, false},
	{"pull-policies", pullPolicies, false},
	{"image-files", imageFiles, false},
	{"what-cannot-be-started", whatCannotBeStarted, false},
	{"stand-in-for-ceos", ceosCountsItsPorts, false},
	{"containers-of-others-are-wired", containersOfOthersAreWired, false},
	{"stand-in-for-iol", iolReadsItsFiles, false},
	{"kinds-have-their-files-made", kindsHaveTheirFilesMade, false},
	{"binds-come-first", bindsComeFirst, false},
	{"kinds-may-do-what-they-must", kindsMayDoWhatTheyMust, false},
	{"killed-and-removed-while-nobody-looks", killedAndRemovedUnseen, false},
	{"health", health, false},
	{"every-field", everyField, false},
	{"users", users, false},
	{"shared-namespaces", sharedNamespaces, false},
	{"management-network", management, false},
	{"management-network-leaves-nothing", leavings, false},
	{"management-addresses-of-the-file", addressesOfTheFile, false},
	{"management-network-of-somebody-else", foreignManagement, false},
	{"management-network-that-somebody-comes-to-use", contendedManagement, false},
}
