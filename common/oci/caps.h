/* common/oci/caps.h: capabilities by name, as sets of bits. */
#pragma once
#include <stdint.h>

struct hoy_err;

#define HOY_CAPS_ALL UINT64_MAX
/* What a container gets by default: podman's list of eleven. */
extern const uint64_t hoy_caps_default;
#define HOY_CAPS_DEFAULT hoy_caps_default

/* "CAP_CHOWN" for 0; NULL for a number without a name. */
const char *hoy_cap_name(int cap);
/* Add NAME ("CAP_CHOWN", "chown", "all") to SET; -EINVAL with a sentence. */
int hoy_caps_parse(const char *name, uint64_t *set, struct hoy_err *err);
/* The bounding set of this process: what can be handed to a container at all. */
uint64_t hoy_caps_bounding(void);
