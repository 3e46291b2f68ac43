// Package beside measures the program beside others that do the same on one
// Docker engine. It consists of benchmarks, which cmd bench runs.
package beside
