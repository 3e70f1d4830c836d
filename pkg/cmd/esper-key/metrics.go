package main

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// metrics has the values that /metrics shows.
type metrics struct {
	registry  *prometheus.Registry
	renewals  *prometheus.CounterVec
	delivered prometheus.Gauge
	source    *renew.Source
}

func newMetrics(log *logQueue) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.renewals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "esper_key_renewals_total",
		Help: "New keys that came into use, renewed or adopted by this process or another one, and failures of this process.",
	}, []string{"result"})
	for _, result := range []string{"renewed", "adopted", "failed"} {
		m.renewals.WithLabelValues(result)
	}
	m.delivered = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "esper_key_delivered", Help: "0 if the file of --write-token does not hold the key in use, or the program of --on-renew has not succeeded for it.",
	})
	m.delivered.Set(1)
	v := versionOf()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "esper_key_build_info", Help: "Always 1; the labels have the versions of esper-key and of Go.",
		ConstLabels: prometheus.Labels{"version": v.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.renewals, m.delivered, build,
		m.gauge("esper_key_seconds_to_end", "Seconds until the key in use ends; negative after its end.", func(s renew.Status) float64 { return time.Until(s.ExpiresAt).Seconds() }),
		m.gauge("esper_key_age_seconds", "Seconds since the key in use was made.", func(s renew.Status) float64 { return time.Since(s.IssuedAt).Seconds() }),
		m.gauge("esper_key_lost", "1 if the server refuses the key and the store has no other: a person has to adopt one.", func(s renew.Status) float64 { return number(s.Lost) }),
		m.gauge("esper_key_saved", "1 if the store holds the key in use; if 0, the key is lost when the process ends.", func(s renew.Status) float64 { return number(s.Saved) }),
		m.gauge("esper_key_failing", "1 if the last renewal, save, read or check failed; the log says why.", func(s renew.Status) float64 { return number(s.LastError != nil) }),
		m.gauge("esper_key_last_success_timestamp_seconds", "When the server last told this process that it accepts the key, or made a new one; 0 if it has not yet. The process asks once a day.", func(s renew.Status) float64 { return seconds(s.AcceptedAt) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "esper_key_log_records_dropped_total", Help: "Records of the log that were dropped, because nobody read it.",
		}, func() float64 { return float64(log.dropped.Load()) }),
	)
	return m
}

func (m *metrics) gauge(name, help string, value func(renew.Status) float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(m.source.Status()) })
}

func (m *metrics) count(kind renew.EventKind) {
	switch kind {
	case renew.Renewed, renew.Adopted:
		m.renewals.WithLabelValues(string(kind)).Inc()
	case renew.Failed, renew.Lost:
		m.renewals.WithLabelValues("failed").Inc()
	case renew.Recovered:
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}
