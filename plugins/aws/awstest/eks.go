package awstest

import "fmt"

var eksOps = map[string]func(*call) (params, *apiError){
	"DescribeCluster":              describeEKS,
	"CreatePodIdentityAssociation": createAssociation, "ListPodIdentityAssociations": listAssociations,
	"DescribePodIdentityAssociation": describeAssociation, "UpdatePodIdentityAssociation": updateAssociation,
	"DeletePodIdentityAssociation": deleteAssociation,
}

// Cluster is an EKS cluster, as whoever runs the account made it.
type Cluster struct {
	Account, Region, Name string
	Endpoint              string // "https://127.0.0.1:6443"
	CA                    string // of its certificate, PEM in base64
	Issuer                string // of its accounts' tokens; "" for one that nobody can reach
}

// AddCluster makes an EKS cluster, and the IAM provider of its tokens.
func (s *Server) AddCluster(c Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Issuer == "" {
		c.Issuer = fmt.Sprintf("https://oidc.eks.%s.amazonaws.com/id/%032X", c.Region, s.number())
	}
	arn := fmt.Sprintf("arn:aws:eks:%s:%s:cluster/%s", c.Region, c.Account, c.Name)
	s.add(&thing{
		given: true, account: c.Account, region: c.Region, service: "eks", kind: "cluster", id: c.Name, arn: arn,
		body: params{
			"name": c.Name, "arn": arn, "endpoint": c.Endpoint, "status": "ACTIVE", "version": "1.33",
			"certificateAuthority": params{"data": c.CA}, "identity": params{"oidc": params{"issuer": c.Issuer}},
		},
	})
	id := c.Issuer[len("https://"):]
	s.add(&thing{
		given: true, account: c.Account, region: "aws-global", service: "iam", kind: "oidc-provider", id: id, arn: "arn:aws:iam::" + c.Account + ":oidc-provider/" + id,
		body: params{"Url": id, "ClientIDList": []any{"sts.amazonaws.com"}},
	})
}

func (c *call) eks(member string) (*thing, *apiError) {
	if th := c.find("cluster", c.in.str(member)); th != nil {
		return th, nil
	}
	return nil, fail("ResourceNotFoundException", "No cluster found for name: %s.", c.in.str(member)).withStatus(404)
}

func describeEKS(c *call) (params, *apiError) {
	th, err := c.eks("name")
	if err != nil {
		return nil, err
	}
	return params{"cluster": th.body}, nil
}

func createAssociation(c *call) (params, *apiError) {
	cluster, err := c.eks("clusterName")
	if err != nil {
		return nil, err
	}
	token, wants := c.in.str("clientRequestToken"), c.in.take("namespace", "serviceAccount", "roleArn")
	for _, th := range c.all("podidentityassociation") {
		same := th.body.str("clusterName") == cluster.id && th.body.str("namespace") == wants.str("namespace") && th.body.str("serviceAccount") == wants.str("serviceAccount")
		switch {
		case same && token != "" && th.hidden.str("token") == token && th.body.str("roleArn") == wants.str("roleArn"):
			return params{"association": th.body}, nil
		case same:
			return nil, fail("ResourceInUseException", "Association already exists: %s", th.body.str("associationId")).withStatus(409)
		}
	}
	id := fmt.Sprintf("a-%017d", c.s.number())
	arn := c.arn("podidentityassociation/" + cluster.id + "/" + id)
	tags := c.in.texts("tags")
	body := wants.with(params{"clusterName": cluster.id, "associationId": id, "associationArn": arn, "createdAt": c.s.now(), "tags": c.in.sub("tags")})
	th := c.new("podidentityassociation", id, arn, tags, body)
	th.hidden["token"] = token
	return params{"association": body}, nil
}

func listAssociations(c *call) (params, *apiError) {
	cluster, err := c.eks("clusterName")
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, th := range c.all("podidentityassociation") {
		wrong := func(k string) bool { return c.in.has(k) && c.in.str(k) != th.body.str(k) }
		if th.body.str("clusterName") == cluster.id && !wrong("namespace") && !wrong("serviceAccount") {
			list = append(list, th.body.take("clusterName", "namespace", "serviceAccount", "associationArn", "associationId"))
		}
	}
	return params{"associations": list}, nil
}

func (c *call) association() (*thing, *apiError) {
	if th := c.find("podidentityassociation", c.in.str("associationId")); th != nil && th.body.str("clusterName") == c.in.str("clusterName") {
		return th, nil
	}
	return nil, fail("ResourceNotFoundException", "No association found for %s", c.in.str("associationId")).withStatus(404)
}

func describeAssociation(c *call) (params, *apiError) {
	th, err := c.association()
	if err != nil {
		return nil, err
	}
	tags := params{}
	for k, v := range th.tags {
		tags[k] = v
	}
	return params{"association": th.body.with(params{"tags": tags})}, nil
}

func updateAssociation(c *call) (params, *apiError) {
	th, err := c.association()
	if err != nil {
		return nil, err
	}
	if c.in.has("roleArn") {
		th.body["roleArn"] = c.in["roleArn"]
	}
	return params{"association": th.body}, nil
}

func deleteAssociation(c *call) (params, *apiError) {
	th, err := c.association()
	if err != nil {
		return nil, err
	}
	c.s.drop(th)
	return params{"association": th.body}, nil
}
