// mtt-verify: does an exported model work in MD engines? No Python inside.
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

#include "mtt/verify.hpp"

namespace {

constexpr const char* usage =
    "usage: mtt-verify MODEL.pt [--extensions DIR] [--only FAMILY[,FAMILY]] [--skip FAMILY[,FAMILY]]\n"
    "                  [--json FILE|-] [--quiet] [--progress] [--threads N]\n"
    "       mtt-verify --list | --version | --help\n"
    "\n"
    "Does with the model what MD engines do, and checks more than they do.\n"
    "  --extensions DIR  folder with the TorchScript extensions of the model\n"
    "  --only, --skip    families of checks: LOAD SCHEMA PARITY NTH FD DD GEO SYM\n"
    "  --json FILE       write the report as JSON; '-' prints it instead of the table\n"
    "  --quiet           no table, no progress\n"
    "  --progress        a line on standard error for each check that starts, for programs that read it\n"
    "  --threads N       threads for libtorch (default: 1, as an MPI rank has)\n"
    "  --list            all checks with their tolerances\n"
    "exit code: 0 all passed, 3 a check failed, 2 unusable arguments or no such file\n";

struct Arguments {
    mtt::VerifyOptions options;
    std::string json;
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

int number(const std::string& text) {
    size_t used = 0;
    int out = 0;
    try {
        out = std::stoi(text, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    if (used == 0 || used != text.size() || out < 1) {
        throw UsageError("'" + text + "' is not a number of threads");
    }
    return out;
}

Arguments parse(const std::vector<std::string>& words) {
    Arguments out;
    for (size_t k = 0; k < words.size(); ++k) {
        const auto value = [&]() -> const std::string& {
            if (k + 1 >= words.size()) {
                throw UsageError("'" + words[k] + "' needs a value");
            }
            return words[++k];
        };
        const std::string& word = words[k];
        if (word == "--extensions") {
            out.options.extensions = value();
        } else if (word == "--only") {
            out.options.only = split(value());
        } else if (word == "--skip") {
            out.options.skip = split(value());
        } else if (word == "--json") {
            out.json = value();
        } else if (word == "--threads") {
            out.options.threads = number(value());
        } else if (word == "--quiet") {
            out.quiet = true;
        } else if (word == "--progress") {
            out.progress = true;
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
    const auto report = mtt::verify(arguments.options);
    if (show_progress) {
        std::cerr << "\r\033[K" << std::flush;
    }
    if (arguments.json == "-") {
        std::cout << mtt::to_json(report);
    } else {
        if (!arguments.quiet) {
            mtt::print(report, std::cout);
        }
        if (!arguments.json.empty()) {
            std::ofstream file(arguments.json);
            file << mtt::to_json(report);
            file.close();
            if (!file) {
                std::cerr << "mtt-verify: can not write '" << arguments.json << "'\n";
                return 2;
            }
        }
    }
    return report.passed() ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    for (const auto& word : words) {
        if (word == "--help" || word == "-h") {
            std::cout << usage;
            return 0;
        }
        if (word == "--list") {
            list_checks();
            return 0;
        }
        if (word == "--version") {
            std::cout << "mtt-verify " << MTT_VERSION << "\n";
            return 0;
        }
    }
    try {
        return run(parse(words));
    } catch (const UsageError& error) {
        std::cerr << "mtt-verify: " << error.what() << "\n\n" << usage;
    } catch (const std::exception& error) {
        std::cerr << "mtt-verify: " << error.what() << "\n";
    }
    return 2;
}
