// Package lab is the vocabulary of Archetype: what a lab, a node, a link, an
// endpoint and a job are, which states each can be in, and every transition
// that is legal between them. It imports nothing else of the project, and no
// other package writes a state's name or decides whether a transition may
// happen.
package lab
