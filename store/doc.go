// Package store keeps labs, nodes, links, jobs and events on disk and refuses
// what cannot be true.
package store
