// mtt-verify: does an exported model work in MD engines? No Python inside.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "mtt/isolation/process.hpp"
#include "mtt/isolation/wire.hpp"
#include "mtt/model/operators.hpp"
#include "mtt/physics/compare.hpp"
#include "mtt/physics/tolerances.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/files.hpp"
#include "mtt/runner/options.hpp"
#include "mtt/runner/printable.hpp"
#include "mtt/supervisor.hpp"


namespace {

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

/// For tests of what is refused, in one process for many files: a line of JSON for each, of which nothing is loaded.
int scan(const std::vector<std::string>& words) {
    bool extensions = false;
    for (const auto& path : words) {
        if (path == "--extensions") {  // for the files after it, as if a folder of them had been named
            extensions = true;
            continue;
        }
        nlohmann::json foreign = nlohmann::json::array();
        for (const auto& item : mtt::foreign_operators(mtt::Archive(path), {}, extensions)) {
            foreign.push_back({item.name, item.record, item.line, item.why});
        }
        std::cout << mtt::dump({{"path", path}, {"foreign", foreign}}) << std::flush;
    }
    return 0;
}

std::atomic<int> interrupted{0};

extern "C" void note_signal(int number) { interrupted = number; }

mtt::Supervision supervision() {
    struct sigaction action {};
    action.sa_handler = note_signal;
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        sigaction(number, &action, nullptr);
    }
    mtt::Supervision how;
    how.worker = {"/proc/self/exe", mtt::worker_flag};
    how.interrupted = &interrupted;
    how.owns_children = true;
    how.warn = [](const std::string& text) { std::cerr << "mtt-verify: warning: " << text << std::endl; };
    if (const char* without = std::getenv("MTT_VERIFY_WITHOUT")) {
        how.without = mtt::split(without);
    }
    return how;
}

/// `--predict` and `--widened`, which only other programs give.
int predict(std::vector<std::string> words) {
    const auto taken = [&words](const char* flag) { return std::erase(words, flag) > 0; };
    taken(mtt::predict_flag);
    const bool widened = taken("--widened");
    const auto arguments = mtt::parse_arguments(words);
    return mtt::serve_predictions(arguments.options, supervision(), widened);
}

int run(mtt::Arguments arguments) {
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
    const auto report = arguments.isolated ? mtt::supervise(arguments.options, supervision()) : mtt::verify(arguments.options);
    if (show_progress) {
        std::cerr << "\r\033[K" << std::flush;
    }
    if (arguments.json == "-") {
        std::cout << mtt::to_json(report);
    } else if (!arguments.quiet) {
        mtt::print(report, std::cout);
    }
    if (!arguments.json.empty() && arguments.json != "-") {
        mtt::write_output(arguments.json, mtt::to_json(report));
    }
    if (!arguments.record.empty() && report.recorded.has_value()) {
        mtt::write_output(arguments.record, *report.recorded);
    }
    return report.passed() ? 0 : 3;
}

/// What a user asks for; returns the exit code.
int answer(const std::vector<std::string>& words) {
    mtt::end_with_caller();
    signal(SIGPIPE, SIG_IGN);  // a reader that goes away must not cost the clean end
    for (const auto& word : words) {
        if (word == "--help" || word == "-h") {
            std::cout << mtt::usage_text();
            return 0;
        }
        if (word == "--list") {
            list_checks();
            return 0;
        }
        if (word == "--catalogue") {
            std::cout << mtt::catalogue_json();
            return 0;
        }
        if (word == "--version") {
            std::cout << "mtt-verify " << MTT_VERSION << "\n";
            return 0;
        }
    }
    try {
        if (!words.empty() && words[0] == "--scan") {
            return scan({words.begin() + 1, words.end()});
        }
        const bool asked = !words.empty() && words[0] == mtt::predict_flag;
        return asked ? predict(words) : run(mtt::parse_arguments(words));
    } catch (const mtt::Interrupted& error) {
        return 128 + error.signal;
    } catch (const mtt::UsageError& error) {
        std::cerr << "mtt-verify: " << mtt::printable(error.what()) << "\n\n" << mtt::usage_text();
    } catch (const std::exception& error) {
        std::cerr << "mtt-verify: " << mtt::printable(error.what()) << "\n";
    }
    return 2;
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
    const int code = answer(words);
#ifndef MTT_SANITIZED  // whose findings come at the end
    // A model that was in this process may have something to do at its end.
    if (std::find(words.begin(), words.end(), "--no-isolation") == words.end()) {
        // Everything is written. Taking libtorch down, operator by operator, would take a tenth of a second.
        std::_Exit(std::cout.flush() ? code : 2);
    }
#endif
    return code;
}
