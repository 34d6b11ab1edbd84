#include "pickle_reader.hpp"

#include <cstring>
#include <unordered_map>

namespace mtt {

namespace {

using Kind = PickleValue::Kind;

constexpr size_t most_values = 20'000'000;

PicklePart make(Kind kind, std::string text = "", int64_t integer = 0) {
    auto out = std::make_shared<PickleValue>();
    out->kind = kind;
    out->text = std::move(text);
    out->integer = integer;
    return out;
}

class PickleReader {
public:
    explicit PickleReader(const std::string& bytes): bytes_(bytes) {}

    PickleContent read() {
        if (bytes_.size() < 2 || bytes_[0] != '\x80' || bytes_[1] != 2) {
            throw PickleError("it does not begin as a pickle of protocol 2");
        }
        at_ = 2;
        while (step()) {
            if (++steps_ > most_values) {
                throw PickleError("it is longer than objects of models are");
            }
        }
        if (stack_.size() != 1 || !marks_.empty() || at_ != bytes_.size()) {
            throw PickleError("something is left over at its end");
        }
        content_.top = stack_.back();
        return std::move(content_);
    }

private:
    const char* take(size_t count) {
        if (bytes_.size() - at_ < count) {
            throw PickleError("it ends too early");
        }
        const char* out = bytes_.data() + at_;
        at_ += count;
        return out;
    }

    template <typename T>
    T number() {
        T out;
        std::memcpy(&out, take(sizeof(T)), sizeof(T));
        return out;
    }

    std::string line() {
        const size_t end = bytes_.find('\n', at_);
        if (end == std::string::npos || end - at_ > 4096) {
            throw PickleError("a name in it does not end");
        }
        std::string out = bytes_.substr(at_, end - at_);
        at_ = end + 1;
        return out;
    }

    PicklePart pop() {
        if (stack_.empty() || (!marks_.empty() && stack_.size() <= marks_.back())) {
            throw PickleError("it takes more than it has");
        }
        auto out = stack_.back();
        stack_.pop_back();
        return out;
    }

    std::vector<PicklePart> pop_to_mark() {
        if (marks_.empty()) {
            throw PickleError("it takes more than it has");
        }
        const auto start = stack_.begin() + std::ptrdiff_t(marks_.back());
        marks_.pop_back();
        std::vector<PicklePart> out(start, stack_.end());
        stack_.erase(start, stack_.end());
        return out;
    }

    void push(PicklePart value) { stack_.push_back(std::move(value)); }

    void push_tuple(std::vector<PicklePart> parts) {
        auto out = make(Kind::tuple);
        out->parts = std::move(parts);
        push(out);
    }

    void push_tuple(size_t count) {
        std::vector<PicklePart> parts(count);
        for (size_t k = count; k > 0; --k) {
            parts[k - 1] = pop();
        }
        push_tuple(std::move(parts));
    }

    void put(uint32_t key) {
        // libtorch makes a table as long as the largest number.
        if (stack_.empty() || key > memo_.size() + 1024) {
            throw PickleError("it numbers its objects out of order");
        }
        memo_[key] = stack_.back();
    }

    void get(uint32_t key) {
        const auto value = memo_.find(key);
        if (value == memo_.end()) {
            throw PickleError("it uses an object that it does not have");
        }
        push(value->second);
    }

    PicklePart below(Kind kind) {
        if (stack_.empty() || stack_.back()->kind != kind) {
            throw PickleError("it fills something that is no list or dictionary");
        }
        return stack_.back();
    }

    void set_items(const std::vector<PicklePart>& items) {
        if (items.size() % 2 != 0) {
            throw PickleError("a dictionary in it has a key without a value");
        }
        auto& parts = below(Kind::dict)->parts;
        parts.insert(parts.end(), items.begin(), items.end());
    }

    bool step() {
        switch (*take(1)) {
            case '.': return false;
            case 'N': push(make(Kind::none)); break;
            case '\x88': push(make(Kind::boolean, "", 1)); break;
            case '\x89': push(make(Kind::boolean)); break;
            case 'K': push(make(Kind::integer, "", number<uint8_t>())); break;
            case 'M': push(make(Kind::integer, "", number<uint16_t>())); break;
            case 'J': push(make(Kind::integer, "", number<int32_t>())); break;
            case '\x8a':
                if (number<uint8_t>() != 8) {
                    throw PickleError("it has an integer of another size than 8 bytes");
                }
                push(make(Kind::integer, "", number<int64_t>()));
                break;
            case 'G': take(8), push(make(Kind::number)); break;
            case 'X': {
                const auto length = number<uint32_t>();
                push(make(Kind::text, std::string(take(length), length)));
                break;
            }
            case ']': push(make(Kind::list)); break;
            case '}': push(make(Kind::dict)); break;
            case ')': push_tuple(size_t(0)); break;
            case '\x85': push_tuple(size_t(1)); break;
            case '\x86': push_tuple(size_t(2)); break;
            case '\x87': push_tuple(size_t(3)); break;
            case '(': marks_.push_back(stack_.size()); break;
            case 't': push_tuple(pop_to_mark()); break;
            case 'e': {
                const auto items = pop_to_mark();
                auto& parts = below(Kind::list)->parts;
                parts.insert(parts.end(), items.begin(), items.end());
                break;
            }
            case 'u': set_items(pop_to_mark()); break;
            case 's': {
                const auto value = pop();
                const auto key = pop();
                set_items({key, value});
                break;
            }
            case 'q': put(number<uint8_t>()); break;
            case 'r': put(number<uint32_t>()); break;
            case 'h': get(number<uint8_t>()); break;
            case 'j': get(number<uint32_t>()); break;
            case 'c': {
                const std::string module = line();
                push(make(Kind::name, module + " " + line()));
                break;
            }
            case 'Q': push(storage(*pop())); break;
            case '\x81': new_object(); break;
            case 'b': build(); break;
            case 'R': reduce(); break;
            default: throw PickleError("it does something that TorchScript's pickles do not");
        }
        return true;
    }

    static PicklePart storage(const PickleValue& id) {
        const auto& parts = id.parts;
        const bool fits = id.kind == Kind::tuple && parts.size() == 5 && parts[0]->kind == Kind::text &&
                          parts[0]->text == "storage" && parts[1]->kind == Kind::name &&
                          parts[2]->kind == Kind::text && parts[3]->kind == Kind::text &&
                          parts[4]->kind == Kind::integer && parts[1]->text.compare(0, 6, "torch ") == 0;
        if (!fits) {
            throw PickleError("a storage in it is not described as libtorch does");
        }
        auto out = make(Kind::storage, parts[2]->text, parts[4]->integer);
        out->type = parts[1]->text.substr(6);
        const std::string& device = parts[3]->text;
        if (device != "cpu" && device.compare(0, 4, "cuda") != 0) {
            throw PickleError("a storage in it is on a device that models are not saved from");
        }
        return out;
    }

    void new_object() {
        const auto arguments = pop();
        const auto name = pop();
        if (name->kind != Kind::name || arguments->kind != Kind::tuple || !arguments->parts.empty() ||
            name->text.compare(0, 9, "__torch__") != 0) {
            throw PickleError("it makes an object of something that is no class of TorchScript");
        }
        auto out = make(Kind::object, name->text);
        out->text[out->text.find(' ')] = '.';
        content_.objects.push_back(out);
        push(out);
    }

    void build() {
        const auto state = pop();
        const auto object = stack_.empty() ? nullptr : stack_.back();
        if (object == nullptr || object->kind != Kind::object || object->built) {
            throw PickleError("it gives a state to something that is no new object");
        }
        object->built = true;
        object->parts = {state};
    }

    void reduce() {
        const auto arguments = pop();
        const auto name = pop();
        if (name->kind != Kind::name || arguments->kind != Kind::tuple) {
            throw PickleError("it calls something that is no name");
        }
        const auto& parts = arguments->parts;
        const std::string& text = name->text;
        if (text == "torch.jit._pickle restore_type_tag" && parts.size() == 2 && parts[1]->kind == Kind::text) {
            return tag(parts[0], parts[1]->text);
        }
        static const std::unordered_map<std::string, std::string> lists = {
            {"torch.jit._pickle build_intlist", "List[int]"}, {"torch.jit._pickle build_tensorlist", "List[Tensor]"},
            {"torch.jit._pickle build_doublelist", "List[float]"}, {"torch.jit._pickle build_boollist", "List[bool]"},
        };
        const auto list = lists.find(text);
        if (list != lists.end() && parts.size() == 1) {
            return tag(parts[0], list->second);
        }
        if (text == "torch._utils _rebuild_tensor_v2" && parts.size() >= 4) {
            auto out = make(Kind::tensor);
            out->parts = parts;
            content_.tensors.push_back(out);
            return push(out);
        }
        if (text == "collections OrderedDict" && parts.empty()) {
            return push(make(Kind::none));
        }
        if (text == "builtins complex" && parts.size() == 2 && parts[0]->kind == Kind::number &&
            parts[1]->kind == Kind::number) {
            return push(make(Kind::complex));
        }
        if (text == "torch device" && parts.size() == 1 && parts[0]->kind == Kind::text) {
            return push(make(Kind::device));
        }
        if (text.compare(0, 9, "__torch__") == 0 && parts.size() == 1) {  // a member of an enumeration
            auto out = make(Kind::object, text);
            out->text[text.find(' ')] = '.';
            out->parts = parts;
            out->built = true;
            out->integer = 1;
            content_.objects.push_back(out);
            return push(out);
        }
        throw PickleError("it calls '" + text.substr(0, 100) + "', which objects of models are not made by");
    }

    void tag(const PicklePart& value, const std::string& type) {
        if (value->kind != Kind::list && value->kind != Kind::dict) {
            throw PickleError("it states the type of something that is no list or dictionary");
        }
        value->tags.push_back(type);
        content_.tagged.push_back(value);
        push(value);
    }

    const std::string& bytes_;
    size_t at_ = 0;
    size_t steps_ = 0;
    std::vector<PicklePart> stack_;
    std::vector<size_t> marks_;
    std::unordered_map<uint32_t, PicklePart> memo_;
    PickleContent content_;
};

}  // namespace

PickleContent read_pickle(const std::string& bytes) { return PickleReader(bytes).read(); }

}  // namespace mtt
