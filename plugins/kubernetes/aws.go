package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// vault reads AWS Secrets Manager with the executor's own account. It keeps a
// client for each region.
type vault struct {
	mu      sync.Mutex
	clients map[string]*secretsmanager.Client // by region and endpoint
}

func newVault() *vault { return &vault{clients: map[string]*secretsmanager.Client{}} }

// readARN checks that a reference is one of a secret.
func readARN(text string) (arn.ARN, error) {
	if strings.HasPrefix(text, unknownYet) {
		return arn.ARN{}, nil
	}
	a, err := arn.Parse(text)
	if err != nil || a.Service != "secretsmanager" || a.Region == "" || !strings.HasPrefix(a.Resource, "secret:") {
		return arn.ARN{}, sdk.Invalid("%q is no ARN of a secret in AWS Secrets Manager; it looks like arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME.", kube.Clip(text, 160))
	}
	return a, nil
}

func (v *vault) client(ctx context.Context, region, endpoint string) (*secretsmanager.Client, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := region + " " + endpoint
	if c := v.clients[key]; c != nil {
		return c, nil
	}
	loaded, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return nil, &sdk.Error{Fault: sdk.FaultDownstream, Msg: "The executor's AWS account cannot be used: check the variables and files that `env` of the kubernetes plugin passes on.", Err: err}
	}
	c := secretsmanager.NewFromConfig(loaded, func(o *secretsmanager.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	v.clients[key] = c
	return c, nil
}

// read is what a secret holds: the keys of its JSON object, or the key `value`.
// Errors name the ARN and never a value.
func (v *vault) read(ctx context.Context, from, endpoint string) (map[string]string, error) {
	a, err := readARN(from)
	if err != nil {
		return nil, err
	}
	client, err := v.client(ctx, a.Region, endpoint)
	if err != nil {
		return nil, err
	}
	got, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(from)})
	if err != nil {
		return nil, awsError(from, err)
	}
	if got.SecretString == nil {
		return map[string]string{"value": string(got.SecretBinary)}, nil
	}
	text := *got.SecretString
	var fields map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&fields) != nil || d.More() {
		return map[string]string{"value": text}, nil
	}
	out := make(map[string]string, len(fields))
	for key, value := range fields {
		if errs := validation.IsConfigMapKey(key); len(errs) > 0 {
			return nil, sdk.Invalid("The secret %s has a key that no Secret of Kubernetes can have: write it with letters, digits, -, _ and . alone.", kube.Clip(from, 200))
		}
		switch value := value.(type) {
		case string:
			out[key] = value
		case nil:
		case json.Number:
			out[key] = value.String()
		default:
			data, err := json.Marshal(value)
			if err != nil {
				return nil, sdk.Internal("A secret cannot be read: %w", err)
			}
			out[key] = string(data)
		}
	}
	return out, nil
}

// public are the keys of a database's secret that are no secrets. Their values
// are words such as "postgres", which are in other texts as well.
// Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
var public = map[string]bool{
	"engine": true, "host": true, "port": true, "username": true, "dbname": true, "dbInstanceIdentifier": true, "dbClusterIdentifier": true,
	"masterarn": true, "database": true, "region": true,
}

func awsError(from string, err error) error {
	e := &sdk.Error{Fault: sdk.FaultDownstream, Err: err, Retry: true}
	name := kube.Clip(from, 200)
	api, answered := errors.AsType[smithy.APIError](err)
	if !answered {
		e.Msg = "AWS Secrets Manager cannot be reached for " + name + ": check the network and the executor's AWS account, or try again later."
		return e
	}
	switch api.ErrorCode() {
	case "ResourceNotFoundException":
		e.Fault, e.Retry = sdk.FaultInvalid, false
		e.Msg = "AWS Secrets Manager has no secret " + name + "."
	case "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException":
		e.Retry = false
		e.Msg = "The executor may not read " + name + ": grant its AWS account secretsmanager:GetSecretValue on it, and kms:Decrypt on its key if it has one of its own."
	case "InvalidRequestException":
		e.Fault, e.Retry = sdk.FaultInvalid, false
		e.Msg = "The secret " + name + " cannot be read: it may be about to be deleted."
	default:
		e.Msg = "AWS Secrets Manager failed for " + name + " (" + kube.Clip(strings.ToValidUTF8(api.ErrorCode(), string(utf8.RuneError)), 60) + "): try again later."
	}
	return e
}
