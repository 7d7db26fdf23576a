#include <stdint.h>
#include <string.h>

#include "common/conf/policy.h"
#include "common/data/ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A policy, and (behind a zero byte) the name that a signature bears, put to every identity that the policy knows. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);
	cleanup_policy struct hoy_policy p = HOY_POLICY_INIT;
	cleanup_strv struct hoy_strv scopes = HOY_STRV_INIT;
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *name = end ? strndup((const char *)end + 1, size - (end + 1 - data)) : strdup("docker.io/library/x:1");

	if (hoy_policy_parse(&p, (const char *)data, end ? (size_t)(end - data) : size, "fuzz", NULL) < 0 || !name)
		return 0;
	if (hoy_ref_parse(&ref, "docker.io/library/x:1", NULL) < 0 || hoy_policy_scopes(&ref, &scopes) < 0)
		return 0;
	HOY_JSON_EACH(q, hoy_policy_find(&p, "docker", &scopes))
		(void)hoy_policy_identity(hoy_json_get(q, "signedIdentity"), &ref, name);
	return 0;
}
