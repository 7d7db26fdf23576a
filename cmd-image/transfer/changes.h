/* cmd-image/transfer/changes.h: the config of an image ("config" of its JSON), changed by instructions as a Containerfile's. */
#pragma once
#include "common/data/json.h"

#define CHANGES_HELP "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR"

struct changes {
	struct hoy_json_doc doc;
	struct hoy_json *c; /* an object of DOC */
	bool cmd, entrypoint; /* one of them was changed */
};
/* One instruction, such as "ENV A=b". -EINVAL with a sentence. */
int changes_apply(struct changes *ch, const char *text, struct hoy_err *err);
/* After the last one: an ENTRYPOINT alone takes away a command that C had before. */
void changes_end(struct changes *ch);
/* V as the member KEY; a map has its keys in order, as Go writes it. */
void changes_put_map(struct hoy_jw *w, const char *key, const struct hoy_json *v);
/* Write C as the member "config", in the order of OCI's ImageConfig, which has less than Docker's. */
void changes_put(struct hoy_jw *w, const struct hoy_json *c);
