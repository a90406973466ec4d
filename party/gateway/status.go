package gateway

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Status says who takes part, for those who run the gateway.
type Status struct {
	Newest time.Time `json:"newest,omitzero"` // of the last change
	Counts []Count   `json:"counts"`
	Ending []Ending  `json:"ending"` // what is on the word of the trust anchor and ends soon, or has
}

// Count is how many living items of a kind a participant has.
type Count struct {
	Country string `json:"country"`
	Group   string `json:"kind"` // of a certificate its group
	Domain  string `json:"domain"`
	Count   int    `json:"count"`
}

// Ending is a certificate whose participant must be asked for the next.
type Ending struct {
	Country string    `json:"country"`
	Group   string    `json:"kind"`
	Name    string    `json:"name"`
	Ends    time.Time `json:"ends"`
}

// endingSoon is how long before its end a certificate is told of. Onboarding
// takes weeks.
const endingSoon = 60 * 24 * time.Hour

// Status counts what is on the list.
func (o *Operator) Status(ctx context.Context) (*Status, error) {
	items, err := o.Book.Items(ctx, Query{})
	if err != nil {
		return nil, err
	}
	s := &Status{Counts: []Count{}, Ending: []Ending{}}
	if s.Newest, err = o.Book.Newest(ctx); err != nil {
		return nil, err
	}
	counts := map[Count]int{}
	for _, i := range items {
		c := Count{Country: i.Country, Group: i.Group, Domain: i.Domain}
		if i.Kind != KindCertificate {
			c.Group = string(i.Kind)
		}
		counts[c]++
		if i.Kind == KindCertificate && !i.Claims && o.Now().Add(endingSoon).After(i.Expires) {
			s.Ending = append(s.Ending, Ending{i.Country, i.Group, thumbprintOf(i.Name), i.Expires})
		}
	}
	for c, n := range counts {
		c.Count = n
		s.Counts = append(s.Counts, c)
	}
	slices.SortFunc(s.Counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Country, b.Country), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Group, b.Group))
	})
	slices.SortFunc(s.Ending, func(a, b Ending) int { return a.Ends.Compare(b.Ends) })
	return s, nil
}
