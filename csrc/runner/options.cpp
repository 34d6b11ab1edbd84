#include "mtt/runner/options.hpp"

#include <algorithm>
#include <sstream>

#include "mtt/engines/uses.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/joined.hpp"
#include "mtt/runner/expected.hpp"
#include "mtt/runner/selection.hpp"

namespace mtt {

namespace {

/// The number that `text` is, from end to end, or none.
template <typename T, typename Convert>
std::optional<T> number_in(const std::string& text, Convert convert) {
    try {
        size_t used = 0;
        const T value = convert(text, &used);
        return used == text.size() ? std::optional<T>(value) : std::nullopt;
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

int count(const std::string& text, const std::string& what) {
    const auto value = number_in<int>(text, [](const std::string& s, size_t* used) { return std::stoi(s, used); });
    if (value.value_or(0) < 1) {
        throw UsageError("'" + text + "' is not a number of " + what);
    }
    return *value;
}

double quantity(const std::string& text, const std::string& what) {
    const auto value = number_in<double>(text, [](const std::string& s, size_t* used) { return std::stod(s, used); });
    if (!(value.value_or(-1.0) >= 0)) {
        throw UsageError("'" + text + "' is not a number of " + what);
    }
    return *value;
}

std::string unit_like(const std::string& text, const char* like) {
    try {
        if (!text.empty() && unit_factor(text, like) > 0) {
            return text;
        }
    } catch (const std::exception&) {
        // The same message for what is no unit and for one of another dimension.
    }
    throw UsageError("'" + text + "' is not a unit that converts to " + like);
}

std::vector<std::string> level_names() {
    std::vector<std::string> out;
    for (const auto level : levels()) {
        out.emplace_back(name_of(level));
    }
    return out;
}

/// Appends `text` to `lines`, no line longer than 118 columns, those after the first indented by `indent`.
std::string wrapped(const std::string& text, size_t indent) {
    constexpr size_t width = 118;
    std::string out;
    size_t column = indent;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        if (column > indent && column + 1 + word.size() > width) {
            out += "\n" + std::string(indent, ' ');
            column = indent;
        }
        out += (column > indent ? " " : "") + word;
        column += (column > indent ? 1 : 0) + word.size();
    }
    return out;
}

}  // namespace

const char* name_of(ValueType type) {
    switch (type) {
        case ValueType::none: return "switch";
        case ValueType::choice: return "choice";
        case ValueType::checks: return "checks";
        case ValueType::waivers: return "waivers";
        case ValueType::names: return "names";
        case ValueType::uses: return "uses";
        case ValueType::folder: return "folder";
        case ValueType::input: return "input";
        case ValueType::output: return "output";
        case ValueType::count: return "count";
        case ValueType::quantity: break;
    }
    return "quantity";
}

const std::vector<OptionRow>& option_table() {
    using Text = const std::string&;
    static const std::string scope = "what is checked";
    static const std::string reference = "other machines and libraries";
    static const std::string isolation = "isolation of the model";
    static const std::vector<OptionRow> table = {
        {.flag = "--level", .metavar = "LEVEL", .type = ValueType::choice,
         .help = "how thorough: seconds, a minute, or as long as it takes",
         .apply = [](Arguments& out, Text value) { out.options.level = parse_level(value); },
         .choices = level_names(), .standard = "full", .group = scope, .keyword = "level"},
        {.flag = "--for", .metavar = "ENGINES", .type = ValueType::uses,
         .help = "engines, or ENGINE:CONDITION, that must be able to use the model, separated by commas; the exit code "
                 "judges these, and checks that concern no other run (default: all that run MD; 'lammps:ranks=1' is "
                 "LAMMPS on one rank, 'all' adds PLUMED and other programs)",
         .apply = [](Arguments& out, Text value) {
             const auto words = split(value);
             uses_named(words);
             out.options.judged.insert(out.options.judged.end(), words.begin(), words.end());
         },
         .group = scope, .keyword = "engines"},
        {.flag = "--variant", .metavar = "NAME", .type = ValueType::names,
         .help = "the variant of the energy to check, 'pbe' of 'energy/pbe' (default: all)",
         .apply = [](Arguments& out, Text value) { out.options.variant = value; },
         .group = scope, .keyword = "variant"},
        {.flag = "--length-unit", .metavar = "UNIT", .type = ValueType::names,
         .help = "unit of length of a model that declares none",
         .apply = [](Arguments& out, Text value) { out.options.length_unit = unit_like(value, "angstrom"); },
         .group = scope, .keyword = "length_unit"},
        {.flag = "--energy-unit", .metavar = "UNIT", .type = ValueType::names,
         .help = "unit of energy of a model that declares none",
         .apply = [](Arguments& out, Text value) { out.options.energy_unit = unit_like(value, "eV"); },
         .group = scope, .keyword = "energy_unit"},
        {.flag = "--only", .metavar = "CHECKS", .type = ValueType::checks,
         .help = "families, or FAMILY/name, to run, separated by commas (default: all)",
         .apply = [](Arguments& out, Text value) {
             const auto names = split(value);
             out.options.only.insert(out.options.only.end(), names.begin(), names.end());
         },
         .group = scope, .keyword = "only"},
        {.flag = "--skip", .metavar = "CHECK[=REASON]", .type = ValueType::waivers,
         .help = "leave out a family or check, for a reason that the report records; repeatable",
         .apply = [](Arguments& out, Text value) {
             const auto waivers = parse_waivers(value);
             out.options.waivers.insert(out.options.waivers.end(), waivers.begin(), waivers.end());
         },
         .group = scope, .keyword = "skip"},
        {.flag = "--waivers", .metavar = "FILE", .type = ValueType::input,
         .help = "failures that are known and accepted, as JSON (see docs/reference/verify-report.md)",
         .apply = [](Arguments& out, Text value) { out.options.expected = read_expected_failures(value); },
         .group = scope, .keyword = "waivers"},
        {.flag = "--max-rotation-error", .metavar = "X", .type = ValueType::quantity,
         .help = "fail if a rotation changes energies by more than X meV per atom or forces by more than X meV/angstrom "
                 "(default: only report the change)",
         .apply = [](Arguments& out, Text value) { out.options.max_rotation_error = quantity(value, "meV"); },
         .group = scope, .keyword = "max_rotation_error"},
        {.flag = "--extensions", .metavar = "DIR", .type = ValueType::folder,
         .help = "folder of the compiled extensions that the model needs",
         .apply = [](Arguments& out, Text value) { out.options.extensions = value; },
         .group = scope, .keyword = "extensions"},
        {.flag = "--allow-operator", .metavar = "NAME", .type = ValueType::names,
         .help = "let the model use an operator or class that is not on the list of harmless ones; repeatable",
         .apply = [](Arguments& out, Text value) {
             const auto names = split(value);
             out.options.allowed_operators.insert(out.options.allowed_operators.end(), names.begin(), names.end());
         },
         .group = isolation, .keyword = "allow_operators"},
        {.flag = "--record", .metavar = "FILE", .type = ValueType::output,
         .help = "write energies, forces and virials of this run to FILE",
         .apply = [](Arguments& out, Text value) {
             out.options.record = true;
             out.record = value;
         },
         .group = reference, .keyword = "record"},
        {.flag = "--against", .metavar = "FILE", .type = ValueType::input,
         .help = "compare with those that --record wrote",
         .apply = [](Arguments& out, Text value) { out.options.against = value; },
         .group = reference, .keyword = "against", .excludes = "--record"},
        {.flag = "--time-limit", .metavar = "SECONDS", .type = ValueType::count,
         .help = "time that a check may take",
         .apply = [](Arguments& out, Text value) { out.options.time_limit = count(value, "seconds"); },
         .group = isolation, .keyword = "time_limit"},
        {.flag = "--memory-limit", .metavar = "MB", .type = ValueType::count,
         .help = "memory that the model may take in a process",
         .apply = [](Arguments& out, Text value) {
             out.options.memory_limit = uint64_t(count(value, "megabytes")) << 20;
         },
         .group = isolation, .keyword = "memory_limit"},
        {.flag = "--no-require-sandbox", .metavar = "", .type = ValueType::none,
         .help = "run the model even where the system offers no sandbox (neither seccomp nor Landlock)",
         .apply = [](Arguments& out, Text) { out.options.require_sandbox = false; },
         .group = isolation, .keyword = "require_sandbox"},
        {.flag = "--no-isolation", .metavar = "", .type = ValueType::none,
         .help = "run the model without limits, in the program's own process",
         .apply = [](Arguments& out, Text) { out.isolated = false; },
         .group = isolation, .keyword = "isolation"},
        {.flag = "--seed", .metavar = "N", .type = ValueType::count,
         .help = "of the noise on the check systems and of their order, to repeat a run (default: drawn, and in the report)",
         .apply = [](Arguments& out, Text value) { out.options.seed = uint64_t(count(value, "seeds")); },
         .group = scope, .keyword = "seed"},
        {.flag = "--threads", .metavar = "N", .type = ValueType::count,
         .help = "threads of libtorch (default: 1, as an MPI rank has)",
         .apply = [](Arguments& out, Text value) { out.options.threads = count(value, "threads"); }},
        {.flag = "--processes", .metavar = "N", .type = ValueType::count,
         .help = "in how many processes the model runs at a time, 1 or 2 (default: 2 where two cores may be used and "
                 "OMP_NUM_THREADS does not say 1)",
         .apply = [](Arguments& out, Text value) {
             out.options.processes = count(value, "processes");
             if (out.options.processes > 2) {
                 throw UsageError("checks run in 1 or 2 processes, not in " + value);
             }
         },
         .group = isolation, .keyword = "processes"},
        {.flag = "--json", .metavar = "FILE", .type = ValueType::output,
         .help = "write the report as JSON; '-' prints it instead of the table",
         .apply = [](Arguments& out, Text value) { out.json = value; }},
        {.flag = "--quiet", .metavar = "", .type = ValueType::none, .help = "print no table and no progress",
         .apply = [](Arguments& out, Text) { out.quiet = true; }},
        {.flag = "--progress", .metavar = "", .type = ValueType::none,
         .help = "print a line on standard error for each check that starts, for programs that read it",
         .apply = [](Arguments& out, Text) { out.progress = true; }},
    };
    return table;
}

Arguments parse_arguments(const std::vector<std::string>& words) {
    Arguments out;
    std::vector<std::string> flags;
    for (size_t k = 0; k < words.size(); ++k) {
        const std::string& word = words[k];
        const auto& table = option_table();
        const auto row = std::find_if(table.begin(), table.end(), [&](const auto& item) { return item.flag == word; });
        if (row == table.end()) {
            if (word.size() > 1 && word[0] == '-') {
                throw UsageError("unknown option '" + word + "'");
            }
            if (!out.options.path.empty()) {
                throw UsageError("more than one file: '" + out.options.path + "' and '" + word + "'");
            }
            out.options.path = word;
            continue;
        }
        for (const auto& flag : flags) {
            const auto excluded = [&](const auto& item) {
                return (item.flag == word && item.excludes == flag) || (item.flag == flag && item.excludes == word);
            };
            if (std::any_of(table.begin(), table.end(), excluded)) {
                throw UsageError("'" + flag + "' and '" + word + "' exclude each other");
            }
        }
        flags.push_back(word);
        if (row->type != ValueType::none && k + 1 >= words.size()) {
            throw UsageError("'" + word + "' needs a value");
        }
        row->apply(out, row->type == ValueType::none ? "" : words[++k]);
    }
    if (out.options.path.empty()) {
        throw UsageError("no model file");
    }
    return out;
}

std::string usage_text() {
    constexpr size_t indent = 28;
    std::string out =
        "usage: mtt-verify MODEL.pt [options]\n"
        "       mtt-verify --list | --catalogue | --version | --help\n"
        "\n"
        "Does with the model what MD engines do, and checks more than they do.\n";
    const auto add = [&](const std::string& flag, const std::string& help) {
        const std::string left = "  " + flag;
        out += left + (left.size() + 2 > indent ? "\n" + std::string(indent, ' ') : std::string(indent - left.size(), ' '));
        out += wrapped(help, indent) + "\n";
    };
    for (const auto& row : option_table()) {
        std::string help = row.help;
        if (row.type == ValueType::choice) {
            help += ": " + joined(row.choices) + " (default: " + row.standard + ")";
        }
        add(row.flag + (row.metavar.empty() ? "" : " " + row.metavar), help);
    }
    add("--list", "print all checks with their tolerances");
    add("--catalogue", "print engines, families, levels, checks, tolerances and options as JSON");
    return out + "exit code: 0 all passed, 3 a check failed, 2 unusable arguments or no such file\n";
}

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> out;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, ',');) {
        if (!part.empty()) {
            out.push_back(part);
        }
    }
    return out;
}

}  // namespace mtt
