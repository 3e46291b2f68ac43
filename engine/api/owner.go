package api

import "context"

type ownerKey struct{}

// WithOwner says who asks, and with what: a job that is asked for under the
// context is theirs.
func WithOwner(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, ownerKey{}, who)
}

// Owner is who asks, empty when nobody has said.
func Owner(ctx context.Context) string {
	who, _ := ctx.Value(ownerKey{}).(string)
	return who
}
