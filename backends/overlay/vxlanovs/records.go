package vxlanovs

import (
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// How rows are written to the switch's database and read from it.

func selection(from string, columns []string, where ...ovsdb.Condition) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationSelect, Table: from, Columns: columns, Where: where}
}

func insert(into, name string, row ovsdb.Row) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationInsert, Table: into, UUIDName: name, Row: row}
}

func mutate(in, id, column string, how ovsdb.Mutator, name string) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationMutate, Table: in, Where: is(id),
		Mutations: []ovsdb.Mutation{{Column: column, Mutator: how, Value: ovsdb.UUID{GoUUID: name}}}}
}

func is(id string) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition("_uuid", ovsdb.ConditionEqual, ovsdb.UUID{GoUUID: id})}
}

func uuid(row ovsdb.Row) string {
	id, _ := row["_uuid"].(ovsdb.UUID)
	return id.GoUUID
}

func mapOf(m map[string]string) ovsdb.OvsMap {
	out := ovsdb.OvsMap{GoMap: make(map[any]any, len(m))}
	for k, v := range m {
		out.GoMap[k] = v
	}
	return out
}

func table(v any) map[string]string {
	out := map[string]string{}
	if m, ok := v.(ovsdb.OvsMap); ok {
		for k, val := range m.GoMap {
			key, _ := k.(string)
			out[key], _ = val.(string)
		}
	}
	return out
}

func numbers(v any) map[string]uint64 {
	out := map[string]uint64{}
	if m, ok := v.(ovsdb.OvsMap); ok {
		for k, val := range m.GoMap {
			key, _ := k.(string)
			if f, ok := val.(float64); ok {
				out[key] = uint64(f)
			}
		}
	}
	return out
}

// contains reports whether a column of references has one.
func contains(v any, id string) bool {
	switch v := v.(type) {
	case ovsdb.UUID:
		return v.GoUUID == id
	case ovsdb.OvsSet:
		for _, e := range v.GoSet {
			if u, ok := e.(ovsdb.UUID); ok && u.GoUUID == id {
				return true
			}
		}
	}
	return false
}

// port is a tunnel's UDP port: VXLAN's own where none is named.
func port(options map[string]string) int {
	if n, err := strconv.Atoi(options["dst_port"]); err == nil {
		return n
	}
	return 4789
}
