// Package merge makes one sequence of several that are sorted.
package merge

import "iter"

// By interleaves sequences each of which rises by a key, so that the whole does. One that cannot be read any further yields its
// error, and the others go on.
func By[T any](key func(*T) int64, all []iter.Seq2[T, error]) iter.Seq2[T, error] {
	if len(all) == 1 {
		return all[0]
	}
	return func(yield func(T, error) bool) {
		type source struct {
			next func() (T, error, bool)
			head T
		}
		var sources []*source
		// advance says whether a source has one more head, and whether reading should continue.
		advance := func(s *source) (more, goOn bool) {
			head, err, ok := s.next()
			if err != nil {
				return false, yield(*new(T), err)
			}
			s.head = head
			return ok, true
		}
		for _, s := range all {
			next, stop := iter.Pull2(s)
			defer stop()
			src := &source{next: next}
			more, goOn := advance(src)
			if !goOn {
				return
			}
			if more {
				sources = append(sources, src)
			}
		}
		for len(sources) > 0 {
			oldest := 0
			for i, s := range sources {
				if key(&s.head) < key(&sources[oldest].head) {
					oldest = i
				}
			}
			if !yield(sources[oldest].head, nil) {
				return
			}
			more, goOn := advance(sources[oldest])
			if !goOn {
				return
			}
			if !more {
				sources = append(sources[:oldest], sources[oldest+1:]...)
			}
		}
	}
}
