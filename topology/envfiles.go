package topology

import (
	"errors"
	"maps"
	"os"
	"strings"

	"github.com/joho/godotenv"

	"archetype/internal/bounded"
)

// maxEnvFile bounds one file of variables, in bytes.
const maxEnvFile = 1 << 20

// environment is what the levels give a node: the variables of all env-files,
// the nearer level's files later, and over them those of env.
func (r *reader) environment(ls levels, what string, replace func(string) string) map[string]string {
	out := map[string]string{}
	for _, v := range ls.items("env-files") {
		vars, err := r.envFile(r.absolute(replace(v.text)))
		if err != nil {
			r.errorAt(v.line, v.column, "paths start at the topology file's folder", "%s: env-files: %q: %v", what, v.text, err)
			continue
		}
		maps.Copy(out, vars)
	}
	for _, d := range ls {
		if imports(d) {
			maps.Copy(out, r.opt.Environ())
		}
		for k, s := range d.maps["env"] {
			out[k] = replace(s)
		}
	}
	delete(out, importEnvs)
	if len(out) == 0 {
		return nil
	}
	return out
}

// importEnvs is the variable that brings in all those of whoever asks, under
// the ones that stand beside it.
const importEnvs = "__IMPORT_ENVS"

func imports(d *definition) bool {
	return strings.EqualFold(d.maps["env"][importEnvs], "true")
}

// envFile reads a file once however many nodes name it.
func (r *reader) envFile(path string) (map[string]string, error) {
	if e, ok := r.envFiles[path]; ok {
		return e.vars, e.err
	}
	vars, err := readEnvFile(path)
	if r.envFiles == nil {
		r.envFiles = map[string]envResult{}
	}
	r.envFiles[path] = envResult{vars, err}
	return vars, err
}

type envResult struct {
	vars map[string]string
	err  error
}

func readEnvFile(path string) (map[string]string, error) {
	data, err := readBounded(path, maxEnvFile)
	if err != nil {
		return nil, err
	}
	return godotenv.UnmarshalBytes(data)
}

// readBounded reads a regular file of at most limit bytes. Its errors leave
// the path to whoever says them.
func readBounded(path string, limit int64) ([]byte, error) {
	data, err := bounded.ReadFile(path, limit)
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return data, err
}

// environ is the program's own environment.
func environ() map[string]string {
	out := map[string]string{}
	for _, e := range os.Environ() {
		if name, value, ok := strings.Cut(e, "="); ok && name != "" {
			out[name] = value
		}
	}
	return out
}
