package github

import "github.com/berth-dev/berth/actions"

// All keys of this surface share one hash tag, so that the scripts below may
// touch several of them on a Redis Cluster too. It is not the tag of any
// environment: a name of an environment always holds a "/".
const keyPrefix = "berth:{github}:"

const (
	keyIntake   = keyPrefix + "intake"   // stream: deliveries that nobody has handled yet
	keyDead     = keyPrefix + "dead"     // stream, capped: deliveries that could not be handled
	keyShown    = keyPrefix + "shown"    // hash: environment → what its pull request shows
	keyProbe    = keyPrefix + "probe"    // written to see whether Redis stores
	keyAwaiting = keyPrefix + "awaiting" // set: environments with requests whose end is not yet told
	keyLooked   = keyPrefix + "looked"   // hash: webhook → when its deliveries were last looked at, in Unix milliseconds
	keyAsking   = keyPrefix + "asking"   // set: environments with requests whose card does not yet say its end
)

func keyDelivery(id string) string          { return keyPrefix + "delivery:" + id }
func keyOnce(id string) string              { return keyPrefix + "once:" + id }
func keyBudget(account string) string       { return keyPrefix + "budget:" + account }
func keyBlocked(account string) string      { return keyPrefix + "blocked:" + account }
func keyLease(what string) string           { return keyPrefix + "lease:" + what }
func keySticky(env actions.Name) string     { return keyPrefix + "sticky:" + env.String() }
func keyOpen(env actions.Name) string       { return keyPrefix + "open:" + env.String() }
func keyCards(env actions.Name) string      { return keyPrefix + "cards:" + env.String() }
func keyCard(requestID string) string       { return keyPrefix + "card:" + requestID }
func keyDeployed(env actions.Name) string   { return keyPrefix + "deployments:" + env.String() }
func keyComponents(env actions.Name) string { return keyPrefix + "components:" + env.String() }
