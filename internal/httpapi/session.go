package httpapi

import (
	"context"

	"ampoule/internal/access"
)

// principalKey is where a request keeps who asks.
type principalKey struct{}

// principal returns who asks; nil where nobody is logged in.
func principal(ctx context.Context) *access.Principal {
	p, _ := ctx.Value(principalKey{}).(*access.Principal)
	return p
}

// withPrincipal puts who asks into the context of a request.
func withPrincipal(ctx context.Context, p *access.Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}
