#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char dot[] = "{\"Name\":\"web\",\"N\":4,\"List\":[\"a\",{\"B\":true}],\"Labels\":{\"k\":\"v\"},\"Nil\":null}";
	static struct hoy_json_doc doc;
	struct hoy_buf b = HOY_BUF_INIT(1 << 20);
	struct hoy_template *t = NULL;
	char *text = strndup((const char *)data, size);

	if (!doc.root && hoy_json_parse(&doc, dot, strlen(dot), "dot", NULL))
		abort();
	if (text && !hoy_template_new(&t, text, NULL))
		(void)hoy_template_eval(t, doc.root, &b, NULL);
	hoy_template_free(t);
	hoy_buf_release(&b);
	free(text);
	return 0;
}
