package kube

import (
	"context"
	"fmt"
	"io/fs"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Secrets looks up the values behind a step's references: in the executor's
// environment, in files, and in Kubernetes Secrets of the cluster at. What it
// resolves the SDK hides; a Masker hides it in what is shown by its digest, too,
// once it has been told with LearnExact.
func (c *Clusters) Secrets(at sdk.Cluster, getenv func(string) string) sdk.Secrets {
	return sdk.Secrets{
		Getenv: getenv,
		Kubernetes: func(ctx context.Context, ref sdk.SecretRef) ([]byte, error) {
			cluster, err := c.Open(at)
			if err != nil {
				return nil, err
			}
			return cluster.secret(ctx, ref)
		},
	}
}

// secret reads a key of a Kubernetes Secret.
func (c *Cluster) secret(ctx context.Context, ref sdk.SecretRef) ([]byte, error) {
	secret, err := c.clientset.CoreV1().Secrets(ref.SecretNamespace).Get(ctx, ref.SecretName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("no such Secret: %w", fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	data, ok := secret.Data[ref.SecretKey]
	if !ok {
		return nil, fmt.Errorf("no such key: %w", fs.ErrNotExist)
	}
	return data, nil
}

// Plan hides the secrets that were given as such wherever a plan has them.
func (m *Masker) Plan(p *sdk.Plan) {
	p.Summary, p.Diff, p.Cost = m.ExactText(p.Summary), m.ExactText(p.Diff), m.ExactText(p.Cost)
	for i, r := range p.Resources {
		p.Resources[i].Name, p.Resources[i].Namespace = m.ExactText(r.Name), m.ExactText(r.Namespace)
	}
	if p.Inputs == nil {
		return
	}
	inputs := make(map[string]string, len(p.Inputs))
	for key, value := range p.Inputs {
		inputs[m.ExactText(key)] = m.ExactText(value)
	}
	p.Inputs = inputs
}

// Events passes on to out what a run tells, without secrets. A nil out is for
// calls that nobody listens to.
func (m *Masker) Events(out sdk.Events) sdk.Events {
	if out == nil {
		return unheard{}
	}
	return maskedEvents{out, m}
}

type maskedEvents struct {
	out  sdk.Events
	mask *Masker
}

func (m maskedEvents) Log(line string) { m.out.Log(m.mask.Text(line)) }
func (m maskedEvents) Progress(text string, done, total int) {
	m.out.Progress(m.mask.Text(text), done, total)
}
func (m maskedEvents) Output(key, value string) { m.out.Output(key, m.mask.ExactText(value)) }
func (m maskedEvents) Receipt(r sdk.Resource)   { m.out.Receipt(r) }

// unheard is for calls that nobody listens to.
type unheard struct{}

func (unheard) Log(string)                {}
func (unheard) Progress(string, int, int) {}
func (unheard) Output(string, string)     {}
func (unheard) Receipt(sdk.Resource)      {}
