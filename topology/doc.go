// Package topology reads and writes containerlab's topology files.
package topology
