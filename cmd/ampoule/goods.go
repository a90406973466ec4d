package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"ampoule/internal/access"
	"ampoule/internal/fetch"
	"ampoule/internal/httpapi"
	"ampoule/internal/notify"
	"ampoule/party/custody"
	"ampoule/party/issuer"
)

// openGoods makes the goods of the store.
func (s *service) openGoods() {
	kept := s.store.Goods()
	out := notify.Sender{Fetch: fetch.New(fetch.Options{Bytes: 64 << 10, Timeout: 20 * time.Second, PrivateHosts: s.settings.Fleet.Private})}
	s.goods = &custody.Custody{
		Events: kept, Stock: kept, Secret: kept.Secret(), Now: time.Now, Log: s.log,
		Send: func(ctx context.Context, r custody.Report) error {
			return out.Report(ctx, r.Dest, r.ID, r.Token, r.Body)
		},
		Still: func(ctx context.Context, by custody.Actor) (bool, error) {
			who, err := s.accounts.Principal(ctx, by.ID)
			if errors.Is(err, access.ErrNotFound) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			ok, _ := s.accounts.Policy.Allow(who, access.CustodyRead, issuer.Place(by.Within))
			return ok, nil
		},
	}
}

// workGoods sends what subscribers are to have, until ctx ends; the function that it
// returns waits for that.
func (s *service) workGoods(ctx context.Context) (wait func()) {
	var working sync.WaitGroup
	working.Go(func() { s.goods.Work(ctx) })
	return working.Wait
}

func (s *service) showGoods(p *httpapi.Page) {
	if s.goods != nil {
		p.Goods = &httpapi.Goods{Custody: s.goods, Policy: s.accounts.Policy}
	}
}
