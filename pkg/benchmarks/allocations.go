package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
)

// allocations counts what each call allocates over loopback: exact, whatever the machine does.
func (b *bench) allocations(ctx context.Context) error {
	costs := make(map[string]map[string]measure.Cost)
	section := report.Section{
		Title: "Allocations and bytes a call, over loopback",
		Text:  "All goroutines of the client's process, net/http's included; the server is in another. RenewToken dials each time.",
		Head:  []string{"client", "TokenInfo", "401", "RenewToken"},
	}
	measures := []struct {
		name, path string
		call       call
		http       func(peers.Named) *http.Client
	}{
		{"TokenInfo", server.OK, tokenInfo, tuned},
		{"401", server.Refused, denied, tuned},
		{"RenewToken", server.OK, renewToken, fresh},
	}
	for _, p := range peers.All() {
		row := []string{p.Name}
		costs[p.Name] = make(map[string]measure.Cost)
		for _, m := range measures {
			client, err := p.New(b.server.URL+m.path, m.http(p))
			if err != nil {
				return err
			}
			method := m.call(client)
			cost, err := measure.Costs(func() error { _, err := method(unbound()); return err })
			if err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			costs[p.Name][m.name] = cost
			if p.Name == peers.Default && m.name == "RenewToken" { // on a kept connection: no comparison
				row = append(row, "–")
				continue
			}
			row = append(row, costText(cost))
		}
		section.Rows = append(section.Rows, row)
	}
	b.report.Add(section)
	own, floor := costs[peers.Esper], costs[peers.Floor]
	info, best := own["TokenInfo"], costs["ogen without OTel"]["TokenInfo"]
	b.report.Aim("allocations, bytes a call", "≤ 84, ≤ 6.4 KiB", costText(info), info.Allocations <= 84 && info.Bytes <= 6.4*1024)
	b.report.Aim("… stretch: below ogen without OTel", costText(best), costText(info), info.Allocations < best.Allocations && info.Bytes < best.Bytes)
	ratio := own["RenewToken"].Allocations / floor["RenewToken"].Allocations
	b.report.Aim("RenewToken, allocations", "≤ 1.10 × a floor that also dials",
		fmt.Sprintf("%.3f (%.0f against %.0f)", ratio, own["RenewToken"].Allocations, floor["RenewToken"].Allocations), ratio <= 1.10)
	return b.whereAllocationsCome(ctx)
}

func costText(c measure.Cost) string {
	return fmt.Sprintf("%.0f, %.1f KiB", c.Allocations, c.Bytes/1024)
}
