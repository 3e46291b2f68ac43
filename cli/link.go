package cli

import (
	"time"

	"github.com/spf13/cobra"

	"archetype/engine/api"
	"archetype/lab"
)

func (a *app) link() *cobra.Command {
	cmd := &cobra.Command{Use: "link", Short: "Join, cut, move, impair or remove a cable of a running lab", Args: args(1, 0)}
	cmd.AddCommand(
		a.cable("connect", "Join a cable; a new one where there is none, and one that is cut at either end moves",
			func(e api.Engine, cmd *cobra.Command, labName string, x, y lab.Endpoint) (*api.Job, error) {
				return e.SetLink(cmd.Context(), api.LinkRequest{Lab: labName, A: x, B: y, Wish: lab.WishUp})
			}),
		a.cable("disconnect", "Cut a cable; the interfaces stay, without carrier",
			func(e api.Engine, cmd *cobra.Command, labName string, x, y lab.Endpoint) (*api.Job, error) {
				return e.SetLink(cmd.Context(), api.LinkRequest{Lab: labName, A: x, B: y, Wish: lab.WishDown})
			}),
		a.cable("remove", "Remove a link and its interfaces",
			func(e api.Engine, cmd *cobra.Command, labName string, x, y lab.Endpoint) (*api.Job, error) {
				return e.Edit(cmd.Context(), api.EditRequest{Lab: labName, RemoveLinks: [][2]lab.Endpoint{{x, y}}})
			}),
		a.impair(),
	)
	return cmd
}

// cable is a verb about one link.
func (a *app) cable(name, short string, do func(e api.Engine, cmd *cobra.Command, labName string, x, y lab.Endpoint) (*api.Job, error)) *cobra.Command {
	return &cobra.Command{
		Use: name + " LAB A:IF B:IF", Short: short, Args: args(3, 3), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			x, errX := lab.ParseEndpoint(args[1])
			y, errY := lab.ParseEndpoint(args[2])
			for _, err := range []error{errX, errY} {
				if err != nil {
					return usageError{err}
				}
			}
			f := &follower{app: a, show: a.shower(false)}
			return f.run(cmd.Context(), func(e api.Engine) (*api.Job, error) { return do(e, cmd, args[0], x, y) })
		},
	}
}

func (a *app) impair() *cobra.Command {
	var delay, jitter time.Duration
	var loss, corruption, rate, from string
	var clear bool
	cmd := a.cable("impair", "Make a link worse than a cable: delay, jitter, loss, corruption, rate",
		func(e api.Engine, cmd *cobra.Command, labName string, x, y lab.Endpoint) (*api.Job, error) {
			i := lab.Impairment{Delay: delay, Jitter: jitter}
			var err error
			if i.Loss, err = lab.ParsePercent(loss); err != nil {
				return nil, usageError{err}
			}
			if i.Corruption, err = lab.ParsePercent(corruption); err != nil {
				return nil, usageError{err}
			}
			if i.Rate, err = lab.ParseRate(rate); err != nil {
				return nil, usageError{err}
			}
			if i.IsZero() != clear {
				return nil, usagef("say what the link is to suffer, such as --delay 20ms --loss 1%%, or --clear")
			}
			req := api.ImpairRequest{Lab: labName, A: x, B: y, FromA: &i, FromB: &i}
			switch from {
			case "":
			case x.String():
				req.FromB = nil
			case y.String():
				req.FromA = nil
			default:
				return nil, usagef("--from %s: it must be %s or %s", from, x, y)
			}
			return e.Impair(cmd.Context(), req)
		})
	cmd.Long = "Each value is for one direction, and both directions get it unless --from names the\n" +
		"end whose frames suffer. What is not named is perfect. The link keeps its impairment\n" +
		"while it is cut and joined, and over restarts of its nodes."
	cmd.Example = "archetype link impair mylab r1:eth1 r2:eth1 --delay 20ms --jitter 5ms --loss 0.5%\narchetype link impair mylab r1:eth1 r2:eth1 --rate 10mbit --from r1:eth1\narchetype link impair mylab r1:eth1 r2:eth1 --clear"
	f := cmd.Flags()
	f.DurationVar(&delay, "delay", 0, "each frame comes this much later, such as 20ms")
	f.DurationVar(&jitter, "jitter", 0, "the delay varies by this much, either way")
	f.StringVar(&loss, "loss", "0", "`PER_CENT` of frames that never come")
	f.StringVar(&corruption, "corrupt", "0", "`PER_CENT` of frames with a bit turned")
	f.StringVar(&rate, "rate", "0", "bits a second at most, such as 10mbit")
	f.StringVar(&from, "from", "", "only frames that leave this `END`")
	f.BoolVar(&clear, "clear", false, "a perfect cable again")
	return cmd
}
