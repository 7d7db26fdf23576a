#include "common/base/spans.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int insert(struct hoy_spans *s, size_t at, struct hoy_span one)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 16;
		struct hoy_span *v = reallocarray(s->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->cap = cap;
	}
	memmove(s->v + at + 1, s->v + at, (s->n - at) * sizeof(*s->v));
	s->v[at] = one;
	s->n++;
	return 0;
}

int hoy_spans_add(struct hoy_spans *s, uint64_t start, uint64_t size)
{
	size_t at = 0;

	while (at < s->n && s->v[at].start < start)
		at++;
	return size ? insert(s, at, (struct hoy_span){ start, start + size }) : 0;
}

int hoy_spans_subtract(struct hoy_spans *s, uint64_t start, uint64_t size)
{
	uint64_t end = start + size;
	int r = 0;

	for (size_t i = 0; i < s->n && !r;) {
		struct hoy_span *x = &s->v[i];

		if (!size || x->end <= start || x->start >= end) {
			i++;
		} else if (x->start < start && x->end > end) {
			r = insert(s, i + 1, (struct hoy_span){ end, x->end });
			s->v[i].end = start;
			i += 2;
		} else if (x->start >= start && x->end <= end) {
			memmove(x, x + 1, (s->n - i - 1) * sizeof(*x));
			s->n--;
		} else if (x->start < start) {
			x->end = start;
			i++;
		} else {
			x->start = end;
			i++;
		}
	}
	return r;
}

void hoy_spans_release(struct hoy_spans *s)
{
	free(s->v);
	*s = (struct hoy_spans){ NULL, 0, 0 };
}
