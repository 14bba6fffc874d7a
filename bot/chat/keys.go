package chat

// All keys of chat share one hash tag, so that scripts may touch several of them
// on a Redis Cluster too. It is not the tag of any environment: a name of an
// environment always holds a "/".
const keyPrefix = "berth:{chat}:"

// What is under berth:{chat}: and for how long:
//
//	show:*, events:PLATFORM:*   agendas: each member until it is handled, "turn:REPLICA" for 10 minutes
//	event:PLATFORM:ID           what somebody did, for a day; empty once it is done
//	click:HASH                  2 hours
//	card:ID                     as long as the card can change: until its request is kept no more, or its
//	                            environment is gone or has a newer card there; then for 8 days
//	cards:APP/NAME, watched     as long as such cards are open; the sweep takes out the others
//	told:REQUEST                for 8 days after somebody was called last
//	notice:ID                   8 days; empty once it is told
//	writing:ID                  15 seconds at most
//	page:WHO, pages             a day after the page was opened last
//	spent:*, next:*, line:*     until nothing counts any more: minutes at most
//	blocked:*                   the pause that the platform asked for, an hour at most
//	sweep                       a minute

// What is due, by agenda: events of each platform, and what is to be shown.
const (
	prefixShow   = keyPrefix + "show:"
	prefixEvents = keyPrefix + "events:" // and the platform, and ":"
)

const (
	keySweep = keyPrefix + "sweep" // the replica that compares what is shown with the records this minute
	// keyWatched are the environments with cards that can still change, by name: a
	// set. Who makes a card adds its environment, and who finds none left takes it out.
	keyWatched = keyPrefix + "watched"
	keyPages   = keyPrefix + "pages" // sorted set: whose page was opened, by when in Unix milliseconds
)

// keyEvent is what somebody did, until it is done; then it is empty for as long as
// it may be delivered again.
func keyEvent(platform, id string) string { return keyPrefix + "event:" + platform + ":" + id }

// keyClick is the first of the clicks that somebody made on a button of late; see
// twinScript.
func keyClick(what string) string { return keyPrefix + "click:" + what }

// keyPage is what is known of somebody's page: a hash.
func keyPage(who string) string { return keyPrefix + "page:" + who }

// keySpent are the writes of one kind to a workspace, keyBlocked its pause, keyLine
// those that wait, and keyNext when the next message may go to a channel of it.
func keySpent(workspace, kind string) string { return keyPrefix + "spent:" + workspace + ":" + kind }
func keyBlocked(workspace, kind string) string {
	return keyPrefix + "blocked:" + workspace + ":" + kind
}
func keyNext(workspace, channel string) string {
	return keyPrefix + "next:" + workspace + ":" + channel
}
func keyLine(workspace, what string) string { return keyPrefix + "line:" + workspace + ":" + what }
