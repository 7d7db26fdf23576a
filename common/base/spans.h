/* common/base/spans.h: sets of numbers as the spans that they come in. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct hoy_span {
	uint64_t start, end; /* the first one, and the one behind the last */
};
/* In ascending order. Zeroed it is empty. */
struct hoy_spans {
	struct hoy_span *v;
	size_t n, cap;
};

/* Add SIZE numbers from START on, which S has not yet; take them out. 0 or -ENOMEM. */
int hoy_spans_add(struct hoy_spans *s, uint64_t start, uint64_t size);
int hoy_spans_subtract(struct hoy_spans *s, uint64_t start, uint64_t size);
void hoy_spans_release(struct hoy_spans *s);
static inline void hoy_cleanup_spans_(struct hoy_spans *s) { hoy_spans_release(s); }
#define cleanup_spans __attribute__((cleanup(hoy_cleanup_spans_)))
