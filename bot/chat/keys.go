package chat

// All keys of chat share one hash tag, so that scripts may touch several of them
// on a Redis Cluster too. It is not the tag of any environment: a name of an
// environment always holds a "/".
const keyPrefix = "berth:{chat}:"

func keyEvent(platform, id string) string { return keyPrefix + "event:" + platform + ":" + id }
