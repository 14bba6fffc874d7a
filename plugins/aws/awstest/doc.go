// Package awstest is an AWS to test against: one server on loopback that keeps
// state and is as strict as AWS where AWS is strict. It speaks the wire formats
// of STS, RDS, Secrets Manager, SQS, SNS, ECR, IAM, CloudFormation, the Resource
// Groups Tagging API, EKS and Route 53, and has S3 from gofakes3, so that the
// real clients of aws-sdk-go-v2 are what talks to it.
//
//	aws := awstest.New(t, awstest.Options{})
//	cfg := aws.Config("eu-central-1")           // an aws.Config whose endpoint is the server
//	db := rds.NewFromConfig(cfg)
//
// What it holds every request to:
//
//   - The form of its SigV4 authorization: known access key, the service's own
//     scope, a region, a date within 15 minutes. The scope says which service is
//     called, the key says which account.
//   - AWS's own model of the operation (models/apis in the module
//     github.com/aws/aws-sdk-go): it exists, has what it requires and nothing
//     that the model does not know, and every value fits its type, enumeration,
//     length, range and pattern. What does not is answered as AWS answers, and
//     kept for [Server.Violations].
//   - The rules that are not in the models: names, states, protection, tokens.
//
// Errors other than those that the model declares for the operation, or that
// every service has, fail the test: they would be mistakes of this package.
//
// What AWS takes minutes for (a database that is created, a stack) takes
// [Options.Polls] looks at the thing. [Server.Advance] moves the clock, for what
// AWS forgets or allows after a while. [Server.SetFaults] throttles, fails, cuts
// connections, answers never. [Server.Dump] is all that there is, as text that
// two moments can be compared by; [Server.Owned] is what bears Berth's tags.
//
// The server outlives the clients that use it: an executor that was killed is
// started again by making a new one with the same Config.
package awstest
