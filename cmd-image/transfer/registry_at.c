/* cmd-image/transfer/registry_at.c: the registry that a reference leads to, as registries.conf has it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/registry.h"
#include "common/conf/registries.h"

int registry_at(struct registry **ret, const struct hoy_ref *ref, const struct reg_opts *o, struct hoy_err *err)
{
	cleanup_free char *name = hoy_ref_repo(ref);
	struct hoy_endpoints eps = { NULL, 0 };
	int r = name ? hoy_registry_endpoints(ref, true, &eps, err) : hoy_fail_oom(err);

	if (!r)
		r = registry_new(ret, eps.v[0].repo, name, eps.v[0].insecure, o, err);
	hoy_endpoints_release(&eps);
	return r;
}

int registry_as_such(struct registry **ret, const char *host, const char *name, const struct reg_opts *o, struct hoy_err *err)
{
	cleanup_free char *text = hoy_asprintf("%s/x", host);
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	struct hoy_endpoints eps = { NULL, 0 };
	int r = text ? hoy_ref_parse(&ref, text, err) : hoy_fail_oom(err);

	if (!r)
		r = hoy_registry_endpoints(&ref, true, &eps, err);
	if (!r) {
		eps.v[0].repo[strcspn(eps.v[0].repo, "/")] = '\0';
		r = registry_new(ret, eps.v[0].repo, name, eps.v[0].insecure, o, err);
	}
	hoy_endpoints_release(&eps);
	return r;
}
