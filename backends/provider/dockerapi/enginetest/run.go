package enginetest

import "testing"

// Run runs every case on the engine, some of them side by side. The names of
// the tests are those of the cases below that of t.
func Run(t *testing.T, s *Shared) {
	e := s.Get(t)
	t.Run("engine-stopped-and-started", func(t *testing.T) {
		t.Parallel()
		engineRestart(newBench(t, Own(t, s.Kind)))
	})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(newBench(t, e))
		})
	}
}

var cases = []struct {
	name string // words joined by hyphens
	run  func(*bench)
}{
	{"life", life},
	{"another-configuration-at-the-next-start", anotherConfigurationTakesEffectAtTheNextStart},
	{"foreign-containers-are-not-touched", foreignContainersAreNotTouched},
	{"nothing-is-left", everythingIsGoneAfterwards},
	{"interfaces-before-init", interfacesAreThereBeforeTheInitAndOnEveryRestart},
	{"late-interface-is-waited-for", aLateInterfaceIsWaitedForBehindOurBack},
	{"started-while-nobody-serves", aContainerThatStartsWhileNobodyServesWaits},
	{"restarted-behind-our-back", restartBehindOurBackKeepsLinks},
	{"killed-and-started-behind-our-back", killedAndStartedBehindOurBack},
	{"removed-behind-our-back", removedBehindOurBack},
	{"exec", commands},
	{"console", console},
	{"console-by-attach", attachedConsole},
	{"logs-follow-over-restarts", logsFollowOverRestarts},
	{"stats", stats},
	{"kinds-are-told-of-their-interfaces", kindsAreToldOfTheirInterfaces},
	{"missing-image", missingImage},
	{"pull-policies", pullPolicies},
	{"image-files", imageFiles},
	{"what-cannot-be-started", whatCannotBeStarted},
	{"stand-in-for-ceos", ceosCountsItsPorts},
	{"killed-and-removed-while-nobody-looks", killedAndRemovedUnseen},
	{"health", health},
	{"every-field", everyField},
	{"users", users},
	{"shared-namespaces", sharedNamespaces},
	{"management-network", management},
	{"management-network-of-somebody-else", foreignManagement},
}
