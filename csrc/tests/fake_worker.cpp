#include "fake_worker.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "mtt/isolation/orders.hpp"
#include "mtt/isolation/process.hpp"
#include "plain_model.hpp"

namespace testing {

namespace {

using namespace mtt;

void raw(const std::string& text) {
    if (!write_all(channel_number, text)) {
        _exit(9);
    }
}

std::string read_frame() {
    const auto take = [](char* data, size_t size) {
        if (!read_all(0, data, size)) {
            _exit(8);
        }
    };
    uint64_t size = 0;
    take(reinterpret_cast<char*>(&size), sizeof size);
    std::string out(size, '\0');
    take(out.data(), size);
    return out;
}

struct Asked {
    uint64_t number;
    Question question;
    /// Of `evaluate`.
    std::optional<Call> call;
    /// A call for a part of the atoms, which it is or came before.
    bool selects = false;
    /// Any call, which it is or came before.
    bool called = false;
};

template <class... T>
std::string answer(uint64_t number, Outcome outcome, const T&... content) {
    Packer pack;
    pack(number, outcome, content...);
    return framed(pack.take());
}

/// What may happen in the place of an answer; true if there was one.
using Deed = std::function<bool(const Asked&, PlainModel&)>;

void sleep_forever() {
    while (true) {
        std::this_thread::sleep_for(std::chrono::hours(1));
    }
}

/// Once, when the checksums of records are asked for, which is in the first check.
Deed first(const std::function<void(const Asked&)>& deed) {
    return [deed](const Asked& asked, PlainModel&) {
        if (asked.question != Question::damaged) {
            return false;
        }
        deed(asked);
        return true;
    };
}

/// An answer to a call that differs from the right one.
Deed changed(const std::function<void(Answer&)>& change) {
    return [change](const Asked& asked, PlainModel& model) {
        if (asked.question != Question::evaluate) {
            return false;
        }
        Call call;
        call.systems = {System{.name = "pair", .types = {1, 6}, .positions = {{0, 0, 0}, {1, 0, 0}}}};
        auto numbers = model.evaluate(call);
        change(numbers);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        raw(answer(asked.number, Outcome::fine, numbers));
        return true;
    };
}

const std::map<std::string, Deed>& deeds() {
    static const std::map<std::string, Deed> all = {
        {"works", [](const Asked&, PlainModel&) { return false; }},
        {"dies always", [](const Asked& asked, PlainModel&) {
            return asked.question == Question::evaluate && raise(SIGSEGV) == 0;
        }},
        {"dies in selections", [](const Asked& asked, PlainModel&) {
            return asked.question == Question::evaluate && asked.call->select == Select::listed && raise(SIGSEGV) == 0;
        }},
        {"keeps 10 MB of each call", [](const Asked& asked, PlainModel&) {
            static std::vector<std::string> kept;
            if (asked.question == Question::evaluate) {
                kept.emplace_back(size_t(10) << 20, 'x');
            }
            return false;
        }},
        {"works slowly", [](const Asked& asked, PlainModel&) {
            if (asked.question == Question::evaluate) {
                std::this_thread::sleep_for(std::chrono::milliseconds(2));
            }
            return false;
        }},
        {"changes settings", [](const Asked& asked, PlainModel&) {
            if (asked.question != Question::state) {
                return false;
            }
            const std::string now = asked.selects ? "downward" : (asked.called ? "upward" : "to nearest");
            raw(answer(asked.number, Outcome::fine, std::map<std::string, std::string>{{"rounding", now}}));
            return true;
        }},
        {"selections change a setting", [](const Asked& asked, PlainModel&) {
            if (asked.question != Question::state) {
                return false;
            }
            raw(answer(asked.number, Outcome::fine,
                       std::map<std::string, std::string>{{"rounding", asked.selects ? "upward" : "to nearest"}}));
            return true;
        }},
        {"dies before", [](const Asked&, PlainModel&) { return raise(SIGILL) == 0; }},
        {"dies at the end", [](const Asked& asked, PlainModel&) {
            return asked.question == Question::end && raise(SIGABRT) == 0;
        }},
        {"dies while loading", [](const Asked& asked, PlainModel&) {
            return asked.question == Question::load && raise(SIGBUS) == 0;
        }},
        {"hangs", first([](const Asked&) { sleep_forever(); })},
        {"exits", first([](const Asked&) { _exit(0); })},
        {"exits in a target", [](const Asked& asked, PlainModel& model) {
            if (asked.question == Question::evaluate && model.capabilities().energy_output == "energy/pbe") {
                _exit(0);
            }
            return false;
        }},
        {"garbage", first([](const Asked&) { raw(framed("\xff\x00{}")); })},
        {"half a frame", first([](const Asked& asked) {
            raw(answer(asked.number, Outcome::fine, std::vector<std::string>{"a"}).substr(0, 20));
            _exit(0);
        })},
        {"another number", first([](const Asked& asked) {
            raw(answer(asked.number + 1, Outcome::fine, std::vector<std::string>{}));
        })},
        {"no such outcome", first([](const Asked& asked) { raw(answer(asked.number, Outcome(77))); })},
        {"too much", first([](const Asked& asked) {
            raw(answer(asked.number, Outcome::fine, std::vector<std::string>{}, 1));
        })},
        {"too many", first([](const Asked& asked) { raw(answer(asked.number, Outcome::fine, uint64_t(1) << 60)); })},
        {"floods the channel", first([](const Asked&) {
            const std::string block(1 << 16, '\xff');
            while (true) {
                raw(block);
            }
        })},
        {"floods the output", [](const Asked& asked, PlainModel&) {
            if (asked.question == Question::damaged) {
                const std::string block(1 << 16, 'x');
                for (int k = 0; k < 3000; ++k) {
                    std::cout << block;
                }
                std::cout << std::flush;
            }
            return false;
        }},
        {"colors its last words", first([](const Asked&) {
            std::cerr << "\x1b[31mred\x1b[0m\n" << std::flush;
            raise(SIGABRT);
        })},
        {"refuses", [](const Asked& asked, PlainModel&) {
            if (asked.question != Question::isolation) {
                return false;
            }
            raw(answer(asked.number, Outcome::fine, Isolation{.process = true}));
            return true;
        }},
        {"starts threads", first([](const Asked&) {
            try {
                for (int k = 0; k < 2000; ++k) {
                    std::thread(sleep_forever).detach();
                }
            } catch (const std::system_error&) {  // a machine with limits of its own
            }
            sleep_forever();
        })},
        {"prints its environment", first([](const Asked&) {
            for (char** entry = environ; *entry != nullptr; ++entry) {
                std::cerr << *entry << " ";
            }
            std::cerr << std::endl;
            _exit(0);
        })},
        {"answers for another system", changed([](Answer& numbers) { numbers.forces[0].pop_back(); })},
        {"gives no forces", changed([](Answer& numbers) { numbers.forces.clear(); })},
        {"gives fewer numbers than rows", changed([](Answer& numbers) { numbers.values.clear(); })},
        {"gives a shape without end", changed([](Answer& numbers) { numbers.shape = {1, int64_t(1) << 62, 4}; })},
    };
    return all;
}

std::string file_answer(uint64_t number) {
    FileFacts facts;
    facts.kind = uint32_t(FileKind::metatomic);
    facts.bytes = 1000;
    for (const char* name : {"extra/model-metadata", "extra/extensions", "extra/extensions-deps",
                             "extra/metatomic-version"}) {
        facts.records.emplace_back(name);
        facts.contents[name] = "[]";
    }
    return answer(number, Outcome::fine, facts);
}

/// Serves a model in plain C++.
void serve(const Deed& deed, PlainModel& model) {
    bool selects = false;
    bool called = false;
    while (true) {
        Unpacker bytes(read_frame());
        Asked asked{bytes.take<uint64_t>(), bytes.take<Question>(), std::nullopt, selects, called};
        if (asked.question == Question::evaluate) {
            bytes.take<uint64_t>();
            asked.call = bytes.take<Call>();
            selects = selects || asked.call->select == Select::listed;
            called = true;
        }
        if (deed(asked, model)) {
            continue;
        }
        const Instance instance{1, model.capabilities(), model.requests()};
        switch (asked.question) {
            case Question::isolation:
                raw(answer(asked.number, Outcome::fine,
                           Isolation{.process = true, .protects = true, .notes = {"weak sandbox: of paper"}}));
                break;
            case Question::file: raw(file_answer(asked.number)); break;
            case Question::damaged:
            case Question::warnings: raw(answer(asked.number, Outcome::fine, std::vector<std::string>{})); break;
            case Question::state: raw(answer(asked.number, Outcome::fine, std::map<std::string, std::string>{})); break;
            case Question::load: raw(answer(asked.number, Outcome::fine, instance)); break;
            case Question::ask_for:
                bytes.take<uint64_t>();
                model.ask_for(bytes.take<std::string>());
                raw(answer(asked.number, Outcome::fine, Instance{0, model.capabilities(), model.requests()}));
                break;
            case Question::evaluate: {
                const auto numbers = model.evaluate(*asked.call);
                std::this_thread::sleep_for(std::chrono::microseconds(200));
                raw(answer(asked.number, Outcome::fine, numbers));
                break;
            }
            case Question::widened: raw(answer(asked.number, Outcome::fine, std::optional<Instance>{})); break;
            default: raw(answer(asked.number, Outcome::fine));
        }
        if (asked.question == Question::end) {
            return;
        }
    }
}

}  // namespace

int fake_worker(const std::string& deed) {
    orders_from_text(read_frame());
    PlainModel model(2, {}, true, deed == "exits in a target");
    serve(deeds().at(deed), model);
    return 0;
}

}  // namespace testing
