package main

import (
	"context"
	"fmt"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
)

// calls measures TokenInfo and RenewToken of all clients, over loopback.
func (b *bench) calls(context.Context) error {
	ctx := context.Background() // a context that can be cancelled would cost every client more
	rows := [][]string{{"client", "TokenInfo", "401", "RenewToken"}}
	var subjects []measure.Subject
	for _, p := range peers.All() {
		kept, dials := peers.Tuned(), peers.Fresh()
		if p.Name == peers.Esper { // with its own default transport
			kept, dials = nil, nil
		}
		good, err := p.New(b.url+server.OK, kept)
		if err != nil {
			return err
		}
		refused, err := p.New(b.url+server.Refused, kept)
		if err != nil {
			return err
		}
		fresh, err := p.New(b.url+server.OK, dials)
		if err != nil {
			return err
		}
		info := func() error { _, err := good.TokenInfo(ctx); return err }
		row := []string{p.Name}
		for _, call := range []func() error{
			info,
			func() error { _, _ = refused.TokenInfo(ctx); return nil },
			func() error { _, err := fresh.RenewToken(ctx); return err },
		} {
			cost, err := measure.Costs(call)
			if err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			row = append(row, fmt.Sprintf("%.0f, %.1f KiB", cost.Allocations, cost.Bytes/1024))
		}
		rows = append(rows, row)
		if p.Name != peers.Oapi && p.Name != peers.Ogen {
			subjects = append(subjects, measure.Repeat(p.Name, info))
		}
	}
	times, err := measure.Paired(subjects, b.blocks, 200)
	if err != nil {
		return err
	}
	careful, err := ratio(times, peers.Esper, peers.Careful)
	if err != nil {
		return err
	}
	bare, err := ratio(times, peers.Esper, peers.Bare)
	if err != nil {
		return err
	}
	b.aim("TokenInfo beside a careful client", "≤ 1.00", careful)
	b.aim("TokenInfo beside a bare client", "–", bare)
	b.table("Allocations and bytes a call", "Over loopback, all goroutines of the client's process. Each renewal dials, with every client, "+
		"since an answer can be lost on a used connection. The client of ogen is made from the same description, and oapi-codegen's is `gen` used as it is.", rows...)
	return nil
}
