package awstest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	_ "github.com/aws/aws-sdk-go" //nolint:staticcheck // Nothing calls it: the module has AWS's models of its services, which its successor has in another form.
)

// model is what AWS publishes of a service: the operations and the shapes of
// what goes in and comes out.
type model struct {
	Metadata struct {
		EndpointPrefix     string         `json:"endpointPrefix"`
		JSONVersion        string         `json:"jsonVersion"`
		Protocol           string         `json:"protocol"` // query, json, rest-xml, rest-json
		SigningName        string         `json:"signingName"`
		TargetPrefix       string         `json:"targetPrefix"`
		XMLNamespace       string         `json:"xmlNamespace"`
		APIVersion         string         `json:"apiVersion"`
		AWSQueryCompatible map[string]any `json:"awsQueryCompatible"`
	} `json:"metadata"`
	Operations map[string]*operation `json:"operations"`
	Shapes     map[string]*shape     `json:"shapes"`

	routes []route // of the rest protocols
}

type operation struct {
	Name       string `json:"name"`
	Deprecated bool   `json:"deprecated"`
	HTTP       struct {
		Method       string `json:"method"`
		RequestURI   string `json:"requestUri"`
		ResponseCode int    `json:"responseCode"`
	} `json:"http"`
	Input  *ref  `json:"input"`
	Output *ref  `json:"output"`
	Errors []ref `json:"errors"`
}

// ref is a use of a shape, with how it is written there.
type ref struct {
	Shape         string `json:"shape"`
	LocationName  string `json:"locationName"`
	Location      string `json:"location"` // uri, querystring, header, headers, statusCode; "" is the body
	Flattened     bool   `json:"flattened"`
	ResultWrapper string `json:"resultWrapper"`
	XMLAttribute  bool   `json:"xmlAttribute"`
	XMLNamespace  *struct {
		URI    string `json:"uri"`
		Prefix string `json:"prefix"`
	} `json:"xmlNamespace"`
	TimestampFormat string `json:"timestampFormat"`
}

type shape struct {
	Type            string         `json:"type"`
	Members         map[string]ref `json:"members"`
	Member          ref            `json:"member"`
	Key             ref            `json:"key"`
	Value           ref            `json:"value"`
	Required        []string       `json:"required"`
	Enum            []string       `json:"enum"`
	Min             *float64       `json:"min"`
	Max             *float64       `json:"max"`
	Pattern         string         `json:"pattern"`
	Flattened       bool           `json:"flattened"`
	Payload         string         `json:"payload"`
	LocationName    string         `json:"locationName"`
	Exception       bool           `json:"exception"`
	TimestampFormat string         `json:"timestampFormat"`
	Error           struct {
		Code           string `json:"code"`
		HTTPStatusCode int    `json:"httpStatusCode"`
		SenderFault    bool   `json:"senderFault"`
	} `json:"error"`

	names []string // of Members, sorted
	match *regexp.Regexp
}

// versions are the models' folders, by the service's name in a credential scope.
var versions = map[string]string{
	"sts": "sts/2011-06-15", "rds": "rds/2014-10-31", "secretsmanager": "secretsmanager/2017-10-17",
	"sqs": "sqs/2012-11-05", "sns": "sns/2010-03-31", "ecr": "ecr/2015-09-21", "iam": "iam/2010-05-08",
	"cloudformation": "cloudformation/2010-05-15", "tagging": "resourcegroupstaggingapi/2017-01-26",
	"eks": "eks/2017-11-01", "route53": "route53/2013-04-01", "s3": "s3/2006-03-01",
}

// models are read once for all servers of a test binary: they are megabytes.
var models = struct {
	sync.Mutex
	dir  string
	read map[string]*model
}{read: map[string]*model{}}

// modelOf reads a service's model.
func modelOf(service string) (*model, error) {
	models.Lock()
	defer models.Unlock()
	if m := models.read[service]; m != nil {
		return m, nil
	}
	if models.dir == "" {
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go").Output()
		if err != nil {
			return nil, fmt.Errorf("find the module of AWS's models: %w", err)
		}
		models.dir = strings.TrimSpace(string(out))
	}
	data, err := os.ReadFile(filepath.Join(models.dir, "models", "apis", filepath.FromSlash(versions[service]), "api-2.json"))
	if err != nil {
		return nil, fmt.Errorf("read the model of %s: %w", service, err)
	}
	m := new(model)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("read the model of %s: %w", service, err)
	}
	if service == "s3" {
		m.addNewer()
	}
	m.prepare()
	models.read[service] = m
	return m, nil
}

// unicodeEscape is how Java writes what Go writes as \x{0009}.
var unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

func (m *model) prepare() {
	for _, s := range m.Shapes {
		for name := range s.Members {
			s.names = append(s.names, name)
		}
		slices.Sort(s.names)
		if s.Pattern == "" {
			continue
		}
		// A few patterns look ahead, which Go's do not: those are not checked.
		if re, err := regexp.Compile(`^(?s:` + unicodeEscape.ReplaceAllString(s.Pattern, `\x{$1}`) + `)$`); err == nil {
			s.match = re
		}
	}
	if strings.HasPrefix(m.Metadata.Protocol, "rest") {
		m.routes = routesOf(m)
	}
}

// input and output are an operation's shapes; nil when there is nothing.
func (m *model) input(op *operation) *shape { return m.of(op.Input) }

func (m *model) output(op *operation) *shape { return m.of(op.Output) }

func (m *model) of(r *ref) *shape {
	if r == nil {
		return nil
	}
	return m.Shapes[r.Shape]
}

// addNewer adds to the model of S3, which is of 2024, what has come since then
// and Berth uses: tags in CreateBucket, and lists of buckets that are narrowed.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
// and API_ListBuckets.html.
func (m *model) addNewer() {
	m.Shapes["CreateBucketConfiguration"].Members["Tags"] = ref{Shape: "TagSet"}
	in := func(shape, name string) ref { return ref{Shape: shape, Location: "querystring", LocationName: name} }
	m.Shapes["ListBucketsRequest"] = &shape{Type: "structure", Members: map[string]ref{
		"Prefix": in("Prefix", "prefix"), "BucketRegion": in("Location", "bucket-region"),
		"ContinuationToken": in("Token", "continuation-token"), "MaxBuckets": in("MaxKeys", "max-buckets"),
	}}
	m.Operations["ListBuckets"].Input = &ref{Shape: "ListBucketsRequest"}
	m.Shapes["ListBucketsOutput"].Members["ContinuationToken"] = ref{Shape: "Token"}
}
