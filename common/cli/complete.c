#include "common/cli/complete.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/cli/call.h"

void hoy_complete_word(const char *word, const char *text, const char *cur)
{
	if (!strncmp(word, cur, strlen(cur)))
		printf("%s%s%s\n", word, text ? "\t" : "", text ? text : "");
}

void hoy_complete_options(const struct hoy_opt *o, const char *cur)
{
	for (; o && o->name; o++) {
		char name[100];

		if (!o->help)
			continue;
		snprintf(name, sizeof(name), "--%s", o->name);
		hoy_complete_word(name, o->help, cur);
	}
}

void hoy_complete_end(bool files) { puts(files ? ":0" : ":4"); }

/* The lines that a command of ours prints. */
static void names(const char *tool, const char *const *words, const char *cur)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	char *save = NULL;

	if (hoy_call_tool(tool, words, &out) || !out.data)
		return;
	for (char *line = strtok_r(out.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!strstr(line, "<none>"))
			hoy_complete_word(line, NULL, cur);
}

static bool takes_value(const struct hoy_opt *o, const char *word)
{
	for (; o && o->name; o++)
		if ((!strncmp(word, "--", 2) && !strcmp(word + 2, o->name)) || (o->letter && word[0] == '-' && word[1] == o->letter && !word[2]))
			return o->kind != HOY_OPT_FLAG && o->kind != HOY_OPT_TRI && o->kind != HOY_OPT_OPTARG;
	return false;
}

/* Does the synopsis name a THING ("CONTAINER [COMMAND...]")? */
static bool wants(const struct hoy_verb *v, const char *thing) { return v->synopsis && strstr(v->synopsis, thing); }

void hoy_complete_verb(const struct hoy_verb *v, int n, char **argv, const char *cur)
{
	static const char *const containers[] = { "ps", "-a", "--format", "{{.Names}}", NULL };
	static const char *const images[] = { "images", "--format", "{{.Repository}}:{{.Tag}}", NULL };
	int given = 0;
	bool known;

	if (n && takes_value(v->opts, argv[n - 1])) {
		hoy_complete_end(true);
		return;
	}
	if (*cur == '-') {
		hoy_complete_options(v->opts, cur);
		hoy_complete_end(false);
		return;
	}
	for (int i = 0; i < n; i++) {
		if (argv[i][0] != '-')
			given++;
		else if (takes_value(v->opts, argv[i]))
			i++;
	}
	/* Behind an image or a container that a command follows there are the command's words. */
	known = !given || !(v->flags & HOY_VERB_COMMAND);
	if (known && wants(v, "CONTAINER"))
		names("hoy-run", containers, cur);
	if (known && wants(v, "IMAGE"))
		names("hoy-image", images, cur);
	hoy_complete_end(!known || !(wants(v, "CONTAINER") || wants(v, "IMAGE")));
}
