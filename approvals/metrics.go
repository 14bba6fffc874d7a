package approvals

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-dev/berth/actions"
)

// Metrics counts what becomes of requests. It is a prometheus.Collector, which
// its maker registers.
type Metrics struct {
	ready, delayed prometheus.Gauge
	outcomes       *prometheus.CounterVec
	glass          prometheus.Counter
	waits          prometheus.Histogram
	runs           *prometheus.HistogramVec
}

// NewMetrics makes Metrics that stand at zero.
func NewMetrics() *Metrics {
	return &Metrics{
		ready: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "berth_queue_hints", Help: "Entries in the queue that no worker has taken yet.",
		}),
		delayed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "berth_queue_delayed", Help: "Entries that are to be queued later.",
		}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_requests_ended_total", Help: "Requests that this process brought to their end.",
		}, []string{"verb", "state"}),
		glass: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_glass_broken_total", Help: "Requests for which somebody set rules aside at this process.",
		}),
		waits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "berth_request_wait_seconds", Help: "Time from a request's submission to the start of its run.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600},
		}),
		runs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "berth_run_seconds", Help: "Time that this process spent on runs that it brought to their end.",
			Buckets: []float64{.1, .5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800},
		}, []string{"verb", "state"}),
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.ready, m.delayed, m.outcomes, m.glass, m.waits, m.runs}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(ch)
	}
}

func (m *Metrics) ended(r *Request) {
	m.outcomes.WithLabelValues(string(r.Order.Verb), string(r.State)).Inc()
}

func (m *Metrics) started(r *Request) {
	m.waits.Observe(max(0, r.UpdatedAt.Sub(r.CreatedAt)).Seconds())
}

func (m *Metrics) ran(r *Request, state actions.RunState, took time.Duration) {
	m.runs.WithLabelValues(string(r.Order.Verb), string(state)).Observe(took.Seconds())
}
