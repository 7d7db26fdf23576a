#include "cmd-hoy/completion.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/opts.h"

static const char bash[] =
	"# bash completion of hoy: source it, or put it into a file \"hoy\" where bash-completion looks\n"
	"_hoy() {\n"
	"	local line=${COMP_LINE:0:COMP_POINT} words cur kept last candidates\n"
	"	read -ra words <<<\"$line\"\n"
	"	[[ $line != *[[:space:]] ]] || words+=('')\n"
	"	cur=${words[-1]}\n"
	"	mapfile -t candidates < <(\"${words[0]}\" __complete \"${words[@]:1}\" 2>/dev/null)\n"
	"	[[ ${#candidates[@]} -gt 0 ]] || return\n"
	"	last=${candidates[-1]}\n"
	"	unset 'candidates[-1]'\n"
	"	# The shell takes what stands before a \":\" or \"=\" for another word.\n"
	"	kept=${cur%\"${cur##*[:=]}\"}\n"
	"	candidates=(\"${candidates[@]%%$'\\t'*}\")\n"
	"	COMPREPLY=(\"${candidates[@]#\"$kept\"}\")\n"
	"	[[ $last != :0 ]] || compopt -o default 2>/dev/null\n"
	"}\n"
	"complete -F _hoy hoy hoy-image hoy-run\n";

static const char zsh[] =
	"#compdef hoy hoy-image hoy-run\n"
	"_hoy() {\n"
	"	local -a lines\n"
	"	lines=(\"${(@f)$(\"${words[1]}\" __complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
	"	local last=$lines[-1]\n"
	"	lines=(\"${(@)${(@)lines[1,-2]//:/\\\\:}/$'\\t'/:}\")\n"
	"	(( ! $#lines )) || _describe hoy lines\n"
	"	[[ $last != :0 ]] || _files\n"
	"}\n"
	"compdef _hoy hoy hoy-image hoy-run\n";

static const char fish[] =
	"function __hoy_complete\n"
	"	set -l words (commandline -opc) (commandline -ct)\n"
	"	$words[1] __complete $words[2..] 2>/dev/null | string match -v -r '^:[0-9]$'\n"
	"end\n"
	"for tool in hoy hoy-image hoy-run\n"
	"	complete -c $tool -a '(__hoy_complete)'\n"
	"end\n";

static const struct {
	const char *shell, *script;
} scripts[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };

struct opts {
	const char *file;
};
static const struct hoy_opt opts[] = {
	{ 'f', "file", HOY_OPT_STRING, offsetof(struct opts, file), "FILE", "write it there instead of to stdout" },
	HOY_OPTS_END,
};
static const struct hoy_verb verb = { .name = "completion", .synopsis = "[options] bash|zsh|fish", .summary = "Print the script for a shell's completion",
				      .opts = opts };

int completion(int argc, char **argv)
{
	struct opts o = { NULL };
	struct hoy_err err = HOY_ERR_INIT;
	const char *script = NULL;
	int r, n = hoy_opts_parse(&verb, argc, argv, &o, &err);

	if (n == -ECANCELED)
		return hoy_finish_stdout(0);
	if (n >= 0 && n != 1)
		n = hoy_fail(&err, EINVAL, "completion takes the name of one shell: bash, zsh or fish");
	for (size_t i = 0; n == 1 && i < ARRAY_SIZE(scripts); i++)
		if (!strcmp(argv[1], scripts[i].shell))
			script = scripts[i].script;
	if (n == 1 && !script)
		n = hoy_fail(&err, EINVAL, "there is no completion for '%s' (bash, zsh, fish)", argv[1]);
	if (n < 0)
		return hoy_report(&err, 125);
	if (!o.file) {
		fputs(script, stdout);
		return hoy_finish_stdout(0);
	}
	r = hoy_replace_file(AT_FDCWD, o.file, script, strlen(script), 0644, false);
	if (r < 0) {
		hoy_fail_errno(&err, -r, "cannot write '%s'", o.file);
		return hoy_report(&err, 125);
	}
	return 0;
}
