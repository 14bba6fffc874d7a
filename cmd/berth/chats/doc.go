// Package chats holds tests of chat that need an engine, a platform and its
// stand-in together: what every card and message looks like at Slack and at
// Discord, which must take all of it.
//
// The messages that the stand-ins got are golden files below testdata. After a
// change that is meant, write them anew:
//
//	go test ./cmd/berth/chats -update
//
// To see them as people do, have them drawn by the stand-ins' own pages, which
// needs Chromium:
//
//	CHATS_PICTURES=/tmp/pictures go test ./cmd/berth/chats -run Pictures
package chats
