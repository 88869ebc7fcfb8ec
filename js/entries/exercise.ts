import { define } from "../hosts/anywidget";
import { exercise } from "../views/exercise";

export default define("exercise", exercise);
