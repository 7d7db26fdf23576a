/*
 * common/cli/template.h: Go templates over JSON values, the contract of hoy-template(7).
 *
 * Fields and map keys, pipelines, if/else/with/range/end, variables; and or not eq ne lt le gt ge len index slice print
 * printf println; json join lower upper title split pad truncate. Anything else is an error that names it.
 */
#pragma once
#include "common/base/buf.h"
#include "common/data/json.h"

struct hoy_err;
struct hoy_template;

/* Compile TEXT (\t and \n in it are already real characters); 0 or -EINVAL with a sentence. */
int hoy_template_new(struct hoy_template **ret, const char *text, struct hoy_err *err);
void hoy_template_free(struct hoy_template *t);
/* Evaluate with DOT as ".", appending to OUT; 0, -EINVAL with a sentence, -ENOMEM. */
int hoy_template_eval(struct hoy_template *t, const struct hoy_json *dot, struct hoy_buf *out, struct hoy_err *err);
