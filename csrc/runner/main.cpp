// mtt-verify: does an exported model work in MD engines? No Python inside.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>

#include "mtt/isolation/wire.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/selection.hpp"
#include "mtt/supervisor.hpp"

namespace {

constexpr const char* usage =
    "usage: mtt-verify MODEL.pt [options]\n"
    "       mtt-verify --list [--json] | --version | --help\n"
    "\n"
    "Does with the model what MD engines do, and checks more than they do.\n"
    "  --extensions DIR  folder with the TorchScript extensions of the model\n"
    "  --level LEVEL     quick, full (default) or soak: how long it may take\n"
    "  --engine NAME     only what concerns lammps, ase, ipi, torch-sim, gromacs, plumed or eon\n"
    "  --max-rotation-error X  fail if a rotation changes energies by more than X meV per atom or forces by more than\n"
    "                    X meV/angstrom; without it the change is only reported\n"
    "  --only A,B        families (LOAD, FD, ...) or checks (FD/virial) to run\n"
    "  --skip A=WHY,B    families or checks not to run; the report says so, with the reason\n"
    "  --record FILE     write what the model computes here, to compare with it elsewhere\n"
    "  --against FILE    compare with such a file of another machine or version\n"
    "  --time-limit S    seconds that one check may take\n"
    "  --memory-limit MB memory that the model may take\n"
    "  --no-isolation    run the model in this process, unprotected, as a debugger wants it\n"
    "  --json FILE       write the report as JSON; '-' prints it instead of the table\n"
    "  --quiet           no table, no progress\n"
    "  --progress        a line on standard error for each check that starts, for programs that read it\n"
    "  --threads N       threads for libtorch (default: 1, as an MPI rank has)\n"
    "  --list            all checks with their tolerances; with --json as JSON\n"
    "exit code: 0 all passed, 3 a check failed, 2 unusable arguments or no such file\n";

struct Arguments {
    mtt::VerifyOptions options;
    std::string json;
    std::string record;
    bool isolated = true;
    bool quiet = false;
    bool progress = false;
};

struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

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

int number(const std::string& text, const std::string& what) {
    size_t used = 0;
    int out = 0;
    try {
        out = std::stoi(text, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    if (used == 0 || used != text.size() || out < 1) {
        throw UsageError("'" + text + "' is not a number of " + what);
    }
    return out;
}

double quantity(const std::string& text) {
    size_t used = 0;
    double out = -1.0;
    try {
        out = std::stod(text, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    if (used == 0 || used != text.size() || !(out >= 0)) {
        throw UsageError("'" + text + "' is not a number of meV");
    }
    return out;
}

/// The options that take a value; each says what to do with it.
const std::map<std::string, std::function<void(Arguments&, const std::string&)>>& valued_options() {
    static const std::map<std::string, std::function<void(Arguments&, const std::string&)>> all = {
        {"--extensions", [](Arguments& out, const std::string& value) { out.options.extensions = value; }},
        {"--level", [](Arguments& out, const std::string& value) { out.options.level = mtt::parse_level(value); }},
        {"--engine", [](Arguments& out, const std::string& value) { out.options.engine = value; }},
        {"--only", [](Arguments& out, const std::string& value) { out.options.only = split(value); }},
        {"--skip", [](Arguments& out, const std::string& value) { out.options.waivers = mtt::parse_waivers(value); }},
        {"--against", [](Arguments& out, const std::string& value) { out.options.against = value; }},
        {"--record", [](Arguments& out, const std::string& value) {
            out.options.record = true;
            out.record = value;
        }},
        {"--max-rotation-error", [](Arguments& out, const std::string& value) {
            out.options.max_rotation_error = quantity(value);
        }},
        {"--json", [](Arguments& out, const std::string& value) { out.json = value; }},
        {"--threads", [](Arguments& out, const std::string& value) {
            out.options.threads = number(value, "threads");
        }},
        {"--time-limit", [](Arguments& out, const std::string& value) {
            out.options.time_limit = number(value, "seconds");
        }},
        {"--memory-limit", [](Arguments& out, const std::string& value) {
            out.options.memory_limit = uint64_t(number(value, "megabytes")) << 20;
        }},
    };
    return all;
}

Arguments parse(const std::vector<std::string>& words) {
    Arguments out;
    for (size_t k = 0; k < words.size(); ++k) {
        const std::string& word = words[k];
        const auto valued = valued_options().find(word);
        if (valued != valued_options().end()) {
            if (k + 1 >= words.size()) {
                throw UsageError("'" + word + "' needs a value");
            }
            valued->second(out, words[++k]);
        } else if (word == "--quiet") {
            out.quiet = true;
        } else if (word == "--progress") {
            out.progress = true;
        } else if (word == "--no-isolation") {
            out.isolated = false;
        } else if (word.size() > 1 && word[0] == '-') {
            throw UsageError("unknown option '" + word + "'");
        } else if (!out.options.path.empty()) {
            throw UsageError("more than one file: '" + out.options.path + "' and '" + word + "'");
        } else {
            out.options.path = word;
        }
    }
    if (out.options.path.empty()) {
        throw UsageError("no model file given");
    }
    return out;
}

void list_checks_as_json() {
    auto checks = nlohmann::json::array();
    for (const auto& check : mtt::catalogue()) {
        checks.push_back({{"family", check.family}, {"name", check.name}, {"description", check.description},
                          {"tolerance", check.tolerance}, {"results", check.results},
                          {"level", mtt::name_of(check.from)}, {"engines", check.engines}});
    }
    auto tolerances = nlohmann::json::array();
    for (const auto& row : mtt::tolerance_table()) {
        tolerances.push_back(
            {{"name", row.name}, {"float64", row.float64}, {"float32", row.float32}, {"reason", row.reason}}
        );
    }
    std::cout << mtt::dump({{"checks", checks}, {"tolerances", tolerances}}, 2);
}

void list_checks() {
    for (const auto& check : mtt::catalogue()) {
        for (const auto& result : check.results) {
            std::cout << check.family << "/" << result << "\n";
        }
        std::cout << "    " << check.description << "\n    tolerance: " << check.tolerance << "\n";
    }
    std::cout << "\ntolerance table (relative to the largest force)\n";
    for (const auto& row : mtt::tolerance_table()) {
        std::cout << "  " << row.name << ": float64 " << mtt::short_number(row.float64) << ", float32 "
                  << mtt::short_number(row.float32) << "\n    " << row.reason << "\n";
    }
}

void write_file(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    file << text;
    file.close();
    if (!file) {
        throw std::runtime_error("can not write '" + path + "'");
    }
}

std::atomic<int> interrupted{0};

extern "C" void note_signal(int number) { interrupted = number; }

mtt::Report isolated_report(const mtt::VerifyOptions& options) {
    struct sigaction action {};
    action.sa_handler = note_signal;
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        sigaction(number, &action, nullptr);
    }
    mtt::Supervision how;
    how.worker = {"/proc/self/exe", mtt::worker_flag};
    how.interrupted = &interrupted;
    how.owns_children = true;
    if (const char* without = std::getenv("MTT_VERIFY_WITHOUT")) {
        how.without = split(without);
    }
    return mtt::supervise(options, how);
}

int run(Arguments arguments) {
    const bool show_progress = !arguments.progress && !arguments.quiet && isatty(STDERR_FILENO) != 0;
    if (arguments.progress) {
        arguments.options.progress = [](const std::string& family, const std::string& name) {
            std::cerr << "progress: " << family << "/" << name << std::endl;
        };
    } else if (show_progress) {
        arguments.options.progress = [](const std::string& family, const std::string& name) {
            std::cerr << "\r\033[K" << family << " " << name << " ..." << std::flush;
        };
    }
    if (arguments.options.threads == 0) {
        // As an MPI rank has. Check systems are small: more threads only wait for each other, and on a busy machine
        // they wait a hundred times longer than they work.
        arguments.options.threads = 1;
    }
    const auto report = arguments.isolated ? isolated_report(arguments.options) : mtt::verify(arguments.options);
    if (show_progress) {
        std::cerr << "\r\033[K" << std::flush;
    }
    if (arguments.json == "-") {
        std::cout << mtt::to_json(report);
    } else if (!arguments.quiet) {
        mtt::print(report, std::cout);
    }
    if (!arguments.json.empty() && arguments.json != "-") {
        write_file(arguments.json, mtt::to_json(report));
    }
    if (!arguments.record.empty() && report.recorded.has_value()) {
        write_file(arguments.record, *report.recorded);
    }
    return report.passed() ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words == std::vector<std::string>{mtt::worker_flag}) {
        try {
            return mtt::run_worker();
        } catch (const std::exception& error) {
            std::cerr << error.what() << "\n";
            return 1;
        }
    }
    signal(SIGPIPE, SIG_IGN);  // a reader that goes away must not cost the clean end
    for (const auto& word : words) {
        if (word == "--help" || word == "-h") {
            std::cout << usage;
            return 0;
        }
        if (word == "--list") {
            const bool json = std::find(words.begin(), words.end(), "--json") != words.end();
            json ? list_checks_as_json() : list_checks();
            return 0;
        }
        if (word == "--version") {
            std::cout << "mtt-verify " << MTT_VERSION << "\n";
            return 0;
        }
    }
    try {
        return run(parse(words));
    } catch (const mtt::Interrupted& error) {
        return 128 + error.signal;
    } catch (const UsageError& error) {
        std::cerr << "mtt-verify: " << error.what() << "\n\n" << usage;
    } catch (const std::exception& error) {
        std::cerr << "mtt-verify: " << error.what() << "\n";
    }
    return 2;
}
